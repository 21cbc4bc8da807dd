import {
  ACTOR_KINDS,
  type AllowedWrite,
  type ChangeWindow,
  DAYS,
  DEFAULT_POLICY,
  type Environment,
  PERMISSIONS,
  type Policy,
  type RegisteredActor,
  type Robot,
  type Signer,
  type TicketRule,
} from './policy.js';
import { type PolicyProblem, Shape } from './policy-shape.js';

const DAY_MINUTES = 24 * 60;

/**
 * Makes a policy of a parsed YAML document. What a policy doesn't mention holds as in the built-in one; lists replace.
 * @returns the policy, or every problem with the path of what it is about
 */
export function readPolicy(document: unknown): { policy: Policy } | { problems: PolicyProblem[] } {
  const problems: PolicyProblem[] = [];
  const root = new Shape(document, [], problems);
  root.only([
    'name',
    'environments',
    'default',
    'actors',
    'robots',
    'breakGlass',
    'mergeBots',
    'importedApprovals',
    'trustedSources',
    'signers',
    'teams',
  ]);
  const name = root.text('name', { required: true, example: 'production-2026-03' });
  if (name !== '' && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
    root.problem('name', 'is no name', 'letters, digits, dots and dashes, at most 63', 'production-2026-03');
  const fallback = environment(
    root.map('default') ?? new Shape({}, ['default'], []),
    DEFAULT_POLICY.fallback,
    false,
  );
  const policy: Policy = {
    name,
    environments: root.list('environments').map((shape) => environment(shape, fallback, true)),
    fallback,
    actors: root.has('actors') ? root.list('actors').map(actor) : DEFAULT_POLICY.actors,
    robots: root.list('robots').map(robot),
    breakGlass: breakGlass(root.map('breakGlass')),
    mergeBots: root.has('mergeBots')
      ? root.texts('mergeBots', { example: '[web-flow]' })
      : DEFAULT_POLICY.mergeBots,
    importedApprovals: root.texts('importedApprovals', { example: "['webhook change-board']" }),
    trustedSources: root.texts('trustedSources', { example: "['https://charts.example.com/*']" }),
    signers: root.list('signers').map(signer),
    ...(root.has('teams') && { teams: teamsOf(root) }),
  };
  return problems.length > 0 ? { problems } : { policy };
}

function environment(shape: Shape, base: Environment, named: boolean): Environment {
  shape.only([
    ...(named ? ['name', 'clusters', 'namespaces', 'labels'] : []),
    'approvals',
    'permission',
    'codeOwners',
    'graceHours',
    'finalizeAfterMinutes',
    'changeTicket',
    'changeWindows',
  ]);
  const ticket = shape.map('changeTicket');
  return {
    name: named ? shape.text('name', { required: true, example: 'production' }) : base.name,
    clusters: named ? shape.texts('clusters', { example: '[prod-eu, prod-us]' }) : [],
    namespaces: named ? shape.texts('namespaces', { example: "[shop, 'team-*']" }) : [],
    labels: named ? shape.textMap('labels', '{ tier: critical }') : {},
    approvals: shape.integer('approvals', base.approvals, 0, 10, 2),
    permission: shape.oneOf('permission', PERMISSIONS, base.permission),
    graceHours: shape.integer('graceHours', base.graceHours, 0, 24 * 90, 24),
    finalizeAfterMinutes: shape.integer(
      'finalizeAfterMinutes',
      base.finalizeAfterMinutes,
      0,
      7 * DAY_MINUTES,
      30,
    ),
    changeTicket: ticket ? ticketRule(ticket) : base.changeTicket,
    changeWindows: shape.has('changeWindows')
      ? shape.list('changeWindows').map(changeWindow)
      : base.changeWindows,
    ...(shape.flag('codeOwners', base.codeOwners ?? false) && { codeOwners: true as const }),
  };
}

const TEAM = /^@[^\s/@]+\/[^\s@]+$/;

/** Teams as CODEOWNERS names them, each with its members. */
function teamsOf(root: Shape): Record<string, string[]> {
  const shape = root.map('teams');
  const teams: Record<string, string[]> = {};
  for (const name of shape?.keys() ?? []) {
    if (!TEAM.test(name))
      shape!.problem(name, 'is no team', '@ORGANISATION/TEAM', "'@acme/platform': [alice, bob]");
    teams[name.toLowerCase()] = shape!.texts(name, { example: '[alice, bob@example.com]' });
  }
  return teams;
}

function ticketRule(shape: Shape): TicketRule {
  shape.only(['systems', 'kinds', 'match', 'openEnded']);
  return {
    systems: shape.texts('systems', { required: true, example: '[servicenow]' }),
    kinds: shape.has('kinds')
      ? shape.texts('kinds', { example: '[normal, standard]' })
      : ['standard', 'normal', 'emergency'],
    match: shape.wordsOf('match', ['application', 'namespace', 'cluster', 'object'] as const),
    openEnded: shape.flag('openEnded', false),
  };
}

function changeWindow(shape: Shape): ChangeWindow {
  shape.only(['days', 'from', 'until']);
  const days = shape.has('days') ? shape.wordsOf('days', DAYS) : [...DAYS];
  const from = shape.clock('from', 0);
  const until = shape.clock('until', DAY_MINUTES);
  if (from >= until)
    shape.problem('until', 'is not after from', 'a later time of the same day, in UTC', '"18:00"');
  return { days, from, until };
}

function actor(shape: Shape): RegisteredActor {
  const kind = shape.oneOf('kind', ACTOR_KINDS, undefined);
  shape.only([
    'name',
    'kind',
    'users',
    'groups',
    ...(kind === 'ci' ? ['claims', 'session', 'repository'] : []),
    ...(kind === 'system' ? ['writes'] : []),
  ]);
  const claims = shape.map('claims');
  claims?.only(['sha', 'repository', 'run']);
  const session = shape.map('session');
  const users = shape.texts('users', {
    example: "['system:serviceaccount:argocd:argocd-application-controller']",
  });
  const groups = shape.texts('groups', { example: "['oidc:deployers']" });
  if (users.length === 0 && groups.length === 0)
    shape.problem(
      'users',
      'is missing, and so is groups',
      'whom the apiserver authenticates',
      "['system:serviceaccount:ci:deployer']",
    );
  const broad = [...users, ...groups].find((pattern) => /^\*+$/.test(pattern));
  if (broad !== undefined)
    shape.problem(
      'users',
      'matches everybody',
      'the accounts of this actor only',
      "['system:serviceaccount:ci:*']",
    );
  return {
    name: shape.text('name', { required: true, example: 'argocd' }),
    kind,
    users,
    groups,
    claims: {
      sha: claims?.optional('sha', 'example.com/sha'),
      repository: claims?.optional('repository', 'example.com/repository'),
      run: claims?.optional('run', 'example.com/run-id'),
    },
    session: session && sessionRule(session, true),
    repository: shape.optional('repository', 'https://github.com/acme/shop'),
    writes: shape.list('writes').map(allowedWrite),
  };
}

function sessionRule(shape: Shape, regular: boolean): { extra: string; pattern: string } {
  shape.only(['extra', 'pattern']);
  const example = regular ? "'^deploy-(?<sha>[0-9a-f]{40})$'" : "'break-glass-*'";
  const pattern = shape.text('pattern', { required: true, example });
  if (regular) {
    try {
      if (!/\(\?<(sha|run)>/.test(pattern)) throw new Error('it names neither sha nor run');
      new RegExp(pattern);
    } catch (error) {
      shape.problem(
        'pattern',
        `can't be used: ${(error as Error).message}`,
        'a regular expression with (?<sha>...) or (?<run>...)',
        example,
      );
    }
  }
  return { extra: shape.text('extra', { required: true, example: 'sessionName' }), pattern };
}

function allowedWrite(shape: Shape): AllowedWrite {
  shape.only(['resources', 'verbs', 'fields']);
  return {
    resources: shape.texts('resources', {
      required: true,
      example: '[secrets, certificates.cert-manager.io]',
    }),
    verbs: shape.texts('verbs', { required: true, example: '[create, update, patch]' }),
    fields: shape.texts('fields', { example: '[data, metadata.annotations]' }),
  };
}

function robot(shape: Shape): Robot {
  shape.only(['name', 'accounts', 'repositories', 'paths', 'may', 'reason']);
  return {
    name: shape.text('name', { required: true, example: 'renovate' }),
    accounts: shape.texts('accounts', { required: true, example: "['renovate[bot]']" }),
    repositories: shape.texts('repositories', { required: true, example: '[shop]' }),
    paths: shape.texts('paths', { example: "['charts/*/Chart.lock']" }),
    may: shape.oneOf('may', ['approve', 'propose'] as const, undefined),
    reason: shape.text('reason', { required: true, example: 'exception SEC-112, reviewed 2026-01' }),
  };
}

function breakGlass(shape: Shape | undefined): Policy['breakGlass'] {
  if (!shape) return DEFAULT_POLICY.breakGlass;
  shape.only(['users', 'groups', 'sessions', 'ticketSystems', 'ticketKinds', 'openEnded']);
  return {
    users: shape.texts('users', { example: '[break-glass@example.com]' }),
    groups: shape.texts('groups', { example: '[break-glass]' }),
    sessions: shape.list('sessions').map((session) => sessionRule(session, false)),
    ticketSystems: shape.texts('ticketSystems', { required: true, example: '[pagerduty, jira]' }),
    ticketKinds: shape.has('ticketKinds')
      ? shape.wordsOf('ticketKinds', ['standard', 'normal', 'emergency', 'incident'] as const)
      : DEFAULT_POLICY.breakGlass.ticketKinds,
    openEnded: shape.flag('openEnded', false),
  };
}

function signer(shape: Shape): Signer {
  shape.only(['name', 'publicKey', 'repositories']);
  const publicKey = shape.text('publicKey', {
    required: true,
    example: '|\n  -----BEGIN PUBLIC KEY-----\n  ...',
  });
  if (publicKey !== '' && !/^-----BEGIN PUBLIC KEY-----[\s\S]+-----END PUBLIC KEY-----\s*$/.test(publicKey))
    shape.problem(
      'publicKey',
      'is no public key',
      'an Ed25519 public key in PEM',
      '-----BEGIN PUBLIC KEY----- ...',
    );
  return {
    name: shape.text('name', { required: true, example: 'release-pipeline' }),
    publicKey,
    repositories: shape.texts('repositories', { required: true, example: '[shop]' }),
  };
}
