import { describe, expect, test } from 'vitest';
import type { Json } from '../../../core/audit-event.js';
import { WhochangedError } from '../../../core/errors.js';
import { NAME } from '../../../core/redact/names.js';
import { redactEvent } from '../../../core/redact/redact-event.js';
import {
  compileRedactionRules,
  DEFAULT_REDACTION_RULES,
  type RedactionRuleSet,
} from '../../../core/redact/rules.js';
import { auditEvent, digest, rules } from './seeded.js';

describe('names', () => {
  test.each([
    'password',
    'DB_PASSWORD',
    'dbPassword',
    'db-password',
    'PGPASSWORD',
    'MYSQL_PWD',
    'passwd',
    'passphrase',
    'APIkey',
    'api_key',
    'API_KEY',
    'apiKey',
    'x-api-key',
    'token',
    'GITHUB_TOKEN',
    'tokenV2',
    'TOKEN_1',
    'clientSecret',
    'SECRET_KEY_BASE',
    'AWS_SECRET_ACCESS_KEY',
    'private_key',
    'privateKey',
    'client-key-data',
    'encryptionKey',
    'credentials',
    'DB_CREDS',
    'Authorization',
    'Proxy-Authorization',
    'auth',
    '.dockerconfigjson',
    'SENTRY_DSN',
    'connectionString',
    'VAULT_SECRET_ID',
    'example.com/api-token',
    'set-cookie',
    'access_token',
    'refreshToken',
    'bearer',
    'JWT',
    'userpass',
    'APP_KEY',
    'from-literal',
  ])('%s is sensitive', (name) => {
    expect(rules.names.meaning(name) & NAME.sensitive).toBeTruthy();
  });

  test.each([
    'TOKEN_TTL',
    'secretName',
    'tokenExpirationSeconds',
    'secretKeyRef',
    'secretRef',
    'passwordFile',
    'TOKEN_URL',
    'name',
    'image',
    'imagePullSecrets',
    'existingSecret',
    'credentialName',
    'authentication.kubernetes.io/credential-id',
    'tokenizer',
    'author',
    'authorization.k8s.io/decision',
    'authorization.k8s.io/reason',
    'authentication.k8s.io/legacy-token',
    'keyboard',
    'monkey',
    'max_tokens',
    'publicKey',
    'topologyKey',
    'AWS_ACCESS_KEY_ID',
    'compass',
    'bypass',
    'secrets.example.com/owner',
    'resourceVersion',
    'authority',
    'token_audience',
    'secretNamespace',
    'key',
    'tokenReviewMode',
  ])('%s is not', (name) => {
    expect(rules.names.meaning(name) & NAME.sensitive).toBe(0);
  });
});

describe('a rule set', () => {
  const compile = (over: Partial<RedactionRuleSet>) =>
    compileRedactionRules({ ...DEFAULT_REDACTION_RULES, ...over });

  test.each<[string, Partial<RedactionRuleSet>, RegExp]>([
    ['bad syntax', { sensitiveNames: ['('] }, /sensitiveNames\[0\] "\(": is not a valid regular expression/],
    ['an empty match', { safeNames: ['x*'] }, /safeNames\[0\].*matches the empty string/],
    [
      'exponential time',
      { valuePatterns: [{ name: 'mine', pattern: '(a+)+b' }] },
      /valuePatterns\[0\] "mine": repeats a group/,
    ],
    [
      'overlapping branches',
      { valuePatterns: [{ name: 'mine', pattern: '(?:a|aa)*b' }] },
      /"mine": repeats a group/,
    ],
    ['a back-reference', { valuePatterns: [{ name: 'mine', pattern: '(a)\\1' }] }, /back-reference/],
    [
      'a bad hint',
      { valuePatterns: [{ name: 'mine', pattern: 'abc', hint: '[' }] },
      /"mine": is not a valid/,
    ],
    ['an overlong pattern', { sensitiveNames: ['a'.repeat(501)] }, /longer than 500/],
    [
      'a bad path',
      { fields: [{ group: '', resource: 'pods', path: 'spec..x' }] },
      /fields\[0\] "spec..x": expected a name/,
    ],
    ['an empty path', { fields: [{ group: '', resource: 'pods', path: '' }] }, /is empty/],
    ['no resource', { fields: [{ group: '', resource: '', path: 'spec' }] }, /has no resource/],
  ])('with %s is refused, and the rule named', (_, over, message) => {
    expect(() => compile(over)).toThrow(message);
    expect(() => compile(over)).toThrow(WhochangedError);
  });

  test('adds names, exceptions, shapes and fields', () => {
    const mine = compile({
      sensitiveNames: [...DEFAULT_REDACTION_RULES.sensitiveNames, '^pin$'],
      safeNames: [...DEFAULT_REDACTION_RULES.safeNames, '^public_token$'],
      valuePatterns: [
        ...DEFAULT_REDACTION_RULES.valuePatterns,
        { name: 'house token', pattern: 'house-\\d{6}' },
      ],
      fields: [
        { group: 'apps', resource: 'deployments', path: 'spec.users[*].word' },
        { group: 'apps', resource: 'deployments', path: 'spec.vault' },
        { group: 'apps', resource: 'deployments', path: 'data[a.b]' },
      ],
    });
    const object = {
      pin: '12345678',
      'public-token': 'public',
      note: 'see house-123456 there',
      data: { 'a.b': 'x-value', c: 'plain' },
      spec: { users: [{ name: 'ann', word: 'walnut' }], vault: { a: ['deep'], n: 7, on: true, none: null } },
    };
    const hidden = {
      pin: digest('12345678'),
      'public-token': 'public',
      note: `see ${digest('house-123456')} there`,
      data: { 'a.b': digest('x-value'), c: 'plain' },
      spec: {
        users: [{ name: 'ann', word: digest('walnut') }],
        vault: { a: [digest('deep')], n: digest('7'), on: digest('true'), none: null },
      },
    };
    const run = (requestObject: Json) =>
      redactEvent(auditEvent({ requestObject: structuredClone(requestObject) }), mine, digest).requestObject;
    expect(run(object)).toEqual(hidden);
    expect(run({ kind: 'DeploymentList', items: [object] })).toEqual({
      kind: 'DeploymentList',
      items: [hidden],
    });
    expect(run([{ op: 'replace', path: '/spec/users/0/word', value: 'walnut' }])).toEqual([
      { op: 'replace', path: '/spec/users/0/word', value: digest('walnut') },
    ]);
    expect(run([{ op: 'add', path: '/spec', value: object.spec }])).toEqual([
      { op: 'add', path: '/spec', value: hidden.spec },
    ]);
    // The rule is about apps/deployments only.
    const other = redactEvent(
      auditEvent({ requestObject: { spec: object.spec } }, { resource: 'pods' }),
      mine,
      digest,
    );
    expect(other.requestObject).toEqual({ spec: object.spec });
  });

  test('needs no defaults', () => {
    const none = compile({ sensitiveNames: [], safeNames: [], valuePatterns: [], fields: [] });
    const event = auditEvent({ requestObject: { kind: 'Secret', stringData: { a: 'b' } } });
    expect(redactEvent(event, none, digest).requestObject).toEqual({
      kind: 'Secret',
      stringData: { a: digest('b') },
    });
  });
});
