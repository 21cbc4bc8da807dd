import { WhochangedError } from '../errors.js';
import { type FieldPath, parseFieldPath, resourceKey } from './field-paths.js';
import { type HarmlessTexts, rememberHarmlessTexts } from './harmless-texts.js';
import { compileNames, type Names } from './names.js';
import { compilePattern } from './pattern-safety.js';

/** What an operator can configure. To extend the defaults, spread DEFAULT_REDACTION_RULES and append. */
export interface RedactionRuleSet {
  /**
   * Regular expressions for names whose value is secret: of fields, map keys, annotations, labels, environment
   * variables, flags, query parameters, and `name: value` in text. A name is matched in lower snake case (apiKey,
   * API_KEY and api-key are all `api_key`), without the prefix of a qualified name.
   */
  sensitiveNames: readonly string[];
  /** Exceptions from sensitiveNames, matched in the same way. Never exempts Secret data or a value's own shape. */
  safeNames: readonly string[];
  /**
   * Last words of names that describe or point at a thing rather than hold it: TOKEN_TTL, secretName,
   * passwordFile. Plain words in lower snake case.
   */
  referenceWords: readonly string[];
  /**
   * Regular expressions for secrets known by their shape. Every match in any string is replaced. `hint` is a short
   * expression, best a literal, that is found in every text the pattern matches in; it makes the search cheap.
   */
  valuePatterns: readonly { name: string; pattern: string; hint?: string }[];
  /**
   * Fields that are secret whatever their name: `{ group: 'example.com', resource: 'databases', path: 'spec.users[*].pin' }`.
   * The core group is ''. Everything below such a field is digested, keys excepted.
   */
  fields: readonly { group: string; resource: string; path: string }[];
}

/** Compiled rules. They remember names and texts that they have judged, and otherwise never change. */
export interface RedactionRules {
  readonly names: Names;
  /** All value patterns as one, global. */
  readonly shapes: RegExp;
  /** Matches in every text that may hold a secret, unless its punctuation tells (core/redact/scan.ts). */
  readonly suspicious: RegExp;
  readonly harmlessTexts: HarmlessTexts;
  /** The same for whole string values that encode nothing else (core/redact/redact-string.ts). */
  readonly harmlessStrings: HarmlessTexts;
  /** The same for URI queries, which are judged differently. */
  readonly harmlessQueries: HarmlessTexts;
  /** By resourceKey. */
  readonly fields: ReadonlyMap<string, readonly FieldPath[]>;
}

export const DEFAULT_REDACTION_RULES: RedactionRuleSet = {
  sensitiveNames: [
    'passw(?:or)?d',
    'pass_?(?:phrase|code)',
    '(?:^|_)(?:db|user|root|admin|ssl|key|store|my|pg)?pass(?:_|$)',
    'pwd(?:_|$)',
    'secret',
    'token(?!iz)',
    // "key" alone is a Secret's or ConfigMap's key; with one of these words it is a cryptographic or an API key.
    '(?:api|private|access|secret|signing|encrypt(?:ion)?|cipher|master|account|shared|ssh|auth|client|session|hmac|deploy|tls|ssl|server|license|storage|subscription|app|application|admin|webhook|crypto|gpg|pgp)_?keys?(?:_|\\d|$)',
    'key_data$',
    'credentials?(?:_|$)',
    '(?:^|_)creds?(?:_|$)',
    '(?:^|_)(?:proxy_)?authorization$',
    '(?:^|_)auth(?:_(?:header|string|data))?$',
    '(?:^|_)(?:jwt|otp|bearer|cookies?|dsn)$',
    'conn(?:ection)?_?str(?:ing)?',
    'docker_?(?:cfg|config_?json)',
    '(?:^|_)identity_?file_?data$',
    // kubectl create secret --from-literal=key=value
    '^from_literal$',
  ],
  safeNames: [
    // Annotations of the apiserver about tokens, not tokens.
    '^(?:legacy|stale)_token$',
    // Names of Secrets, in the fields and annotations where they are common.
    '(?:^|_)(?:existing|pull|tls)_secrets?$',
    '^auth_secret$',
    '(?:^|_)password_key$',
    '^agent_inject_(?:secret|token|template)',
    // Counts of the other kind of tokens.
    '(?:^|_)(?:max|min|num|total|input|output|prompt|completion)_tokens$',
    'tokens_per_',
  ],
  referenceWords: [
    ...[
      'name',
      'names',
      'namespace',
      'ref',
      'refs',
      'kind',
      'type',
      'class',
      'source',
      'from',
      'group',
      'resource',
    ],
    // A secret_id (Vault's AppRole) is a secret; other ids are not.
    ...['(?<!secret_)id', 'ids', 'uid', 'version', 'api_version', '(?<!_)key'],
    ...[
      'ttl',
      'expiry',
      'expiration',
      'expires',
      'seconds',
      'minutes',
      'hours',
      'days',
      'ms',
      'duration',
      'timeout',
    ],
    ...['interval', 'period', 'lifetime', 'age', 'time', 'timestamp', 'at', 'date'],
    ...[
      'file',
      'files',
      'path',
      'paths',
      'dir',
      'directory',
      'mount',
      'location',
      'url',
      'uri',
      'endpoint',
      'host',
      'port',
    ],
    ...[
      'mode',
      'enabled',
      'disabled',
      'required',
      'optional',
      'policy',
      'format',
      'prefix',
      'suffix',
      'selector',
    ],
    ...[
      'length',
      'size',
      'count',
      'limit',
      'min',
      'max',
      'algorithm',
      'alg',
      'issuer',
      'audience',
      'audiences',
    ],
    ...[
      'provider',
      'driver',
      'store',
      'engine',
      'manager',
      'operator',
      'controller',
      'webhook',
      'server',
      'role',
    ],
    ...[
      'user',
      'username',
      'email',
      'scope',
      'scopes',
      'claim',
      'review',
      'status',
      'reason',
      'message',
      'items',
      'labels',
    ],
  ],
  valuePatterns: [
    { name: 'AWS access key id', pattern: '\\b(?:AKIA|ASIA)[0-9A-Z]{16}\\b', hint: 'AKIA|ASIA' },
    {
      name: 'GitHub token',
      pattern: '\\bgh[opusr]_[A-Za-z0-9]{20,255}|\\bgithub_pat_[A-Za-z0-9_]{20,255}',
      hint: 'gh[opusr]_|github_pat_',
    },
    {
      name: 'GitLab token',
      pattern: '\\bgl(?:pat|dt|ptt|rt|cbt|agent|soat|ft)-[A-Za-z0-9_.-]{16,255}',
      hint: 'gl[a-z]{2,5}-',
    },
    {
      name: 'Slack token',
      pattern: '\\bxox[abeoprs](?:\\.xox[bp])?-[A-Za-z0-9-]{10,255}|\\bxapp-[A-Za-z0-9-]{10,255}',
      hint: 'xox|xapp-',
    },
    {
      name: 'Slack webhook',
      pattern: '(?<=hooks\\.slack\\.com/)(?:services|workflows)/[A-Za-z0-9/_-]{20,255}',
      hint: 'hooks\\.slack',
    },
    { name: 'Google API key', pattern: '\\bAIza[A-Za-z0-9_-]{35}', hint: 'AIza' },
    {
      name: 'Google OAuth token',
      pattern: '\\bya29\\.[A-Za-z0-9_.-]{20,2048}|\\bGOCSPX-[A-Za-z0-9_-]{20,255}',
      hint: 'ya29|GOCSPX',
    },
    {
      name: 'Stripe key',
      pattern: '\\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}|\\bwhsec_[A-Za-z0-9+/=]{16,255}',
      hint: '[rs]k_|whsec_',
    },
    { name: 'OpenAI or Anthropic key', pattern: '\\bsk-[A-Za-z0-9_-]{20,255}', hint: 'sk-' },
    { name: 'npm token', pattern: '\\bnpm_[A-Za-z0-9]{30,255}', hint: 'npm_' },
    { name: 'PyPI token', pattern: '\\bpypi-[A-Za-z0-9_-]{40,1024}', hint: 'pypi-' },
    { name: 'DigitalOcean token', pattern: '\\bdo[por]_v1_[a-f0-9]{32,255}', hint: 'do[por]_v1' },
    { name: 'Vault token', pattern: '\\bhv[bsr]\\.[A-Za-z0-9_-]{20,1024}', hint: 'hv[bsr]\\.' },
    { name: 'SendGrid key', pattern: '\\bSG\\.[A-Za-z0-9_-]{16,64}\\.[A-Za-z0-9_-]{16,128}', hint: 'SG\\.' },
    { name: 'Hugging Face token', pattern: '\\bhf_[A-Za-z0-9]{30,255}', hint: 'hf_' },
    { name: 'EKS token', pattern: '\\bk8s-aws-v1\\.[A-Za-z0-9_-]{20,4096}', hint: 'aws-v1' },
    { name: 'age key', pattern: '\\bAGE-SECRET-KEY-1[A-Z0-9]{40,80}', hint: 'AGE-SECRET' },
  ],
  fields: [],
};

/** What core/redact/scan.ts looks for besides value patterns and what punctuation tells. */
const SUSPICIOUS = /LS0tLS1CRUdJ|eyJ|[Bb]earer|[Bb]asic|BEARER|BASIC|Secret/;

/**
 * Checks and compiles a rule set.
 *
 * @throws WhochangedError invalid_request naming the rule (`valuePatterns[3] "name"`) and what is wrong with it
 */
export function compileRedactionRules(set: RedactionRuleSet): RedactionRules {
  const compile = (rule: string, source: string): RegExp => {
    const compiled = compilePattern(source);
    if ('problem' in compiled) throw invalid(rule, compiled.problem);
    return compiled.pattern;
  };
  const compileAll = (field: 'sensitiveNames' | 'safeNames'): RegExp[] =>
    set[field].map((source, index) => compile(`${field}[${index}] "${source}"`, source));

  for (const [index, word] of set.referenceWords.entries()) {
    compile(`referenceWords[${index}] "${word}"`, word);
  }
  const hints = set.valuePatterns.map(({ name, pattern, hint }, index) =>
    compile(`valuePatterns[${index}] "${name}"`, hint ?? pattern),
  );
  const shapes = set.valuePatterns.map(({ name, pattern }, index) =>
    compile(`valuePatterns[${index}] "${name}"`, pattern),
  );
  const fields = new Map<string, FieldPath[]>();
  for (const [index, field] of set.fields.entries()) {
    const rule = `fields[${index}] "${field.path}"`;
    if (field.resource === '') throw invalid(rule, 'has no resource');
    const parsed = parseFieldPath(field.path);
    if ('problem' in parsed) throw invalid(rule, parsed.problem);
    const key = resourceKey(field.group, field.resource);
    fields.set(key, [...(fields.get(key) ?? []), parsed.path]);
  }
  return {
    names: compileNames(compileAll('sensitiveNames'), compileAll('safeNames'), set.referenceWords),
    shapes: new RegExp(
      shapes.length === 0 ? '(?!)' : shapes.map((shape) => `(?:${shape.source})`).join('|'),
      'g',
    ),
    suspicious: new RegExp([SUSPICIOUS, ...hints].map((hint) => `(?:${hint.source})`).join('|')),
    harmlessTexts: rememberHarmlessTexts(),
    harmlessStrings: rememberHarmlessTexts(),
    harmlessQueries: rememberHarmlessTexts(),
    fields,
  };
}

function invalid(rule: string, problem: string): WhochangedError {
  return new WhochangedError('invalid_request', `redaction rule ${rule}: ${problem}`, {
    hint: 'correct the rule; core/redact/rules.ts documents what each kind of rule holds',
  });
}
