import type { ClientBase, Pool } from 'pg';
import { WhochangedError } from '../../core/errors.js';
import { evaluateUpcoming } from '../../core/gate/as-of.js';
import { millisOfID } from '../../core/identity.js';
import type { Link, LinkedSource, Subject } from '../../core/links/link.js';
import type { Environment, Policy, PolicyVersion } from '../../core/verdict/policy.js';
import { asksForOwners, environmentOf } from '../../core/verdict/policy-match.js';
import type { Verdict } from '../../core/verdict/verdict.js';
import { findImageCommits } from './image-commits.js';
import type { GateMeans } from './judge-admission.js';
import { Standings } from './standings.js';

/** Where it is to be deployed: an environment of the policy by name, or the place whose environment counts. */
export interface Place {
  environment: string | undefined;
  cluster: string | undefined;
  namespace: string | undefined;
  labels: string[];
  application: string | undefined;
}

export interface CommitQuestion {
  repository: string;
  sha: string;
  /** What is deployed there now: every commit since is looked at. */
  previous: string | undefined;
  path: string | undefined;
  /** The branch that it is deployed from. */
  branch: string | undefined;
}

/**
 * Says whether commits are approved for a place now, by the rules that judge changes. Several sources must all be.
 * @param link what ties the question to the commits
 */
export async function verifyCommits(
  means: GateMeans,
  questions: readonly CommitQuestion[],
  place: Place,
  link: Pick<Link, 'rule' | 'evidence' | 'hazards'>,
  now: number,
): Promise<Verdict> {
  const policy = inEnvironment(await means.policy(), place);
  const standings = new Standings(means.git, 0, means.graphs);
  const client = await means.pool.connect();
  try {
    const sources = [];
    for (const question of questions)
      sources.push(
        await standings.commitsOf((work) => work(client), sourceOf(question), question.previous, now, {
          owners: asksForOwners(policy.policy),
        }),
      );
    const environment = policy.policy.fallback;
    const selected: Link = { ...link, strength: 'exact', sources: sources.map(({ source }) => source) };
    return evaluateUpcoming({
      subject: wouldBe(place, now),
      policy,
      decision: { state: 'linked', selected, candidates: [selected] },
      attribution: undefined,
      root: undefined,
      sources,
      place: undefined,
      undoes: undefined,
      tickets: environment.changeTicket ? await standings.tickets((work) => work(client), now) : [],
      names: {
        application: place.application,
        namespace: place.namespace ?? '',
        cluster: place.cluster ?? '',
        object: '',
      },
      content: undefined,
      samePerson: means.people.samePerson,
      person: {},
      now,
    });
  } finally {
    client.release();
  }
}

function sourceOf({ repository, sha, path, branch }: CommitQuestion): LinkedSource & { sha: string } {
  return {
    repository,
    revision: sha,
    sha,
    ...(path !== undefined && { path }),
    ...(branch !== undefined && { ref: branch }),
  };
}

/** The policy with nothing but the environment that was asked for; its version stays that of the whole. */
function inEnvironment(policy: PolicyVersion, place: Place): PolicyVersion {
  return {
    ...policy,
    policy: { ...policy.policy, environments: [], fallback: environmentFor(policy.policy, place) },
  };
}

/** @throws WhochangedError `invalid_request` where the policy has no environment of that name */
export function environmentFor(policy: Policy, place: Place): Environment {
  if (place.environment === undefined)
    return environmentOf(policy, {
      cluster: place.cluster ?? '',
      key: { apiGroup: '', resource: '', namespace: place.namespace ?? '', name: '' },
      labels: place.labels,
    });
  const all = [...policy.environments, policy.fallback];
  const found = all.find(({ name }) => name === place.environment);
  if (found) return found;
  throw new WhochangedError(
    'invalid_request',
    `the policy has no environment "${place.environment.slice(0, 60)}"`,
    { hint: `its environments are ${all.map(({ name }) => name).join(', ')}` },
  );
}

/** A change that nobody has made yet. */
function wouldBe(place: Place, now: number): Subject {
  return {
    changeID: '',
    cluster: place.cluster ?? '',
    at: now,
    class: 'change',
    kind: 'update',
    outcome: 'succeeded',
    verb: 'update',
    subresource: undefined,
    key: { apiGroup: '', resource: '', namespace: place.namespace ?? '', name: '' },
    objectKind: undefined,
    user: { username: '' },
    impersonatedUser: undefined,
    userAgent: undefined,
    flags: [],
    labels: place.labels,
    annotations: {},
    paths: undefined,
    manifestDigest: undefined,
  };
}

/** The mirrored repositories that have a commit, by its id or the beginning of it. */
export async function findRepositoriesOf(
  pool: Pool,
  sha: string,
  repo: string | undefined,
): Promise<Array<{ repo: string; sha: string }>> {
  const { rows } = await pool.query<{ repo: string; sha: string }>(
    `select r.name as repo, c.sha from commits c join repos r on r.id = c.repo_id
      where c.sha >= $1 and c.sha < $1 || 'g' and ($2::text is null or r.name = $2) order by r.name, c.sha limit 20`,
    [sha, repo ?? null],
  );
  return rows;
}

/** What an image was built from, as questions about commits. */
export async function findImageQuestions(
  pool: Pool,
  digest: string,
): Promise<Array<{ question: CommitQuestion; detail: string }>> {
  return (await findImageCommits(pool, digest)).map(({ repository, sha, signer, builder }) => ({
    question: { repository, sha, previous: undefined, path: undefined, branch: undefined },
    detail: `${signer} signed that ${digest} was built from ${repository} at ${sha}${builder === undefined ? '' : ` by ${builder}`}`,
  }));
}

export interface VerdictOfChange {
  verdict: Verdict['verdict'] | null;
  reason: string | null;
  detail: string | null;
  environment: string | null;
  policyVersion: string | null;
  final: boolean | null;
  document: Pick<Verdict, 'commits' | 'evidence' | 'hazards'> | null;
  sources: LinkedSource[] | null;
}

/** The newest verdict of a change with the link that counts; undefined: there is no such change. */
export async function findVerdictOfChange(
  client: Pick<ClientBase, 'query'>,
  changeID: string,
): Promise<VerdictOfChange | undefined> {
  const millis = millisOfID(changeID);
  const { rows } = await client.query<VerdictOfChange>(
    `select v.verdict, v.reason, v.detail, v.environment, p.version as "policyVersion", v.final, v.document, l.sources
       from clusters k
       join changes c on c.cluster_id = k.id and c.change_id = $1 and c.at >= $2 and c.at < $3
       left join lateral (
         select * from verdicts where cluster_id = c.cluster_id and at = c.at and change_id = c.change_id
          order by id desc limit 1) v on true
       left join policies p on p.digest = v.policy_digest
       left join lateral (
         select sources from links where cluster_id = c.cluster_id and at = c.at and change_id = c.change_id and selected
          limit 1) l on true
      limit 1`,
    [changeID, new Date(millis), new Date(millis + 1)],
  );
  return rows[0];
}
