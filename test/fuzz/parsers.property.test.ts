import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { acceptItem } from '../../core/accept.js';
import { decodeApproval, ItemProblem } from '../../core/approval/decode-approval.js';
import type { Json, JsonObject } from '../../core/audit-event.js';
import { canonicalJson } from '../../core/canonical.js';
import { AuditCountersReader, parseSampleLine } from '../../core/completeness/prometheus-text.js';
import { DecodeError, decodeEvent } from '../../core/decode.js';
import { diffObjects } from '../../core/diff/diff.js';
import { formatFieldPath, parseFieldPath } from '../../core/diff/field-path.js';
import { WhochangedError } from '../../core/errors.js';
import { readAdmissionReview } from '../../core/gate/admission-review.js';
import { readAttestation } from '../../core/gate/attestation.js';
import { readGatePath } from '../../core/gate/decision.js';
import { parseCommitObject } from '../../core/git/commit-object.js';
import { parseRepoURL } from '../../core/git/repo-url.js';
import { readTrailers } from '../../core/git/trailers.js';
import { githubDelivery } from '../../core/hosts/github-webhook.js';
import { gitlabDelivery } from '../../core/hosts/gitlab-webhook.js';
import { validateHookSecrets } from '../../core/hosts/hook-secrets.js';
import {
  verifyGithubSignature,
  verifyGitlabToken,
  verifyStandardSignature,
} from '../../core/hosts/hook-signature.js';
import { validateIdentities } from '../../core/identity-map/validate.js';
import { parseCheckpoint } from '../../core/log/checkpoint.js';
import { parseLeaf } from '../../core/log/leaf.js';
import { hashLeaf } from '../../core/log/merkle.js';
import { NoteError, parseNote, parseVerifierKey } from '../../core/log/note.js';
import { parseProofFile, verifyProofFile } from '../../core/log/proof-file.js';
import { quantityOf } from '../../core/manifest/quantity.js';
import { parseJson } from '../../core/parse-json.js';
import { applyPatch } from '../../core/patch/apply-patch.js';
import { parsePointer } from '../../core/patch/json-patch.js';
import { createKeyedDigest } from '../../core/redact/keyed-digest.js';
import { redactText } from '../../core/redact/redact-text.js';
import { compileRedactionRules, DEFAULT_REDACTION_RULES } from '../../core/redact/rules.js';
import { refOfPath } from '../../core/request-path.js';
import { decodeJira } from '../../core/tickets/jira.js';
import { decodeServiceNow } from '../../core/tickets/servicenow.js';
import { parseMicros } from '../../core/timestamp.js';
import { parseUserAgent } from '../../core/user-agent.js';
import { readPolicy } from '../../core/verdict/read-policy.js';
import { Cluster } from '../harness/events.js';

/** The same cases each time, so that a run tells of what was changed; other ones by WHOCHANGED_FUZZ_SEED and _RUNS. */
const SEED = Number(process.env.WHOCHANGED_FUZZ_SEED ?? 20_261_128);
const RUNS = Number(process.env.WHOCHANGED_FUZZ_RUNS ?? 300);
/** Beyond this a parser takes more time for its input than its length explains. */
const SLOW_MS = 1500;

const digest = createKeyedDigest(Buffer.alloc(32, 7));
const rules = compileRedactionRules(DEFAULT_REDACTION_RULES);
const cluster = new Cluster();
const EVENT = cluster.deployment('create', 'web', { image: 'web:1' }) as JsonObject;

/** Texts of any kind, and a right one with pieces of it taken out, doubled and put in elsewhere. */
function texts(...right: string[]): fc.Arbitrary<string> {
  const altered = fc
    .tuple(
      fc.constantFrom(...right),
      fc.array(
        fc.tuple(
          fc.nat(),
          fc.nat(8),
          fc.oneof(
            fc.string({ maxLength: 4 }),
            fc.constantFrom('\0', '\n', '%', '\ud800', '\\', '"', '[', '=', '9'.repeat(20)),
          ),
        ),
        { maxLength: 4 },
      ),
    )
    .map(([text, alterations]) => {
      let out = text;
      for (const [place, remove, insert] of alterations) {
        const at = place % (out.length + 1);
        out = out.slice(0, at) + insert + out.slice(at + remove);
      }
      return out;
    });
  return fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), altered);
}

const LEAF = fc.oneof(
  fc.constantFrom<Json>(
    null,
    true,
    0,
    -1,
    2 ** 53,
    1e308,
    '',
    '__proto__',
    '\0',
    '\ud800',
    'x'.repeat(300),
    '2026-01-01T00:00:00Z',
  ),
  fc.string(),
  fc.integer(),
);
const anyJson = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    LEAF as fc.Arbitrary<Json>,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(
      fc.oneof(
        fc.string({ maxLength: 8 }),
        fc.constantFrom('__proto__', 'constructor', 'metadata', 'spec', 'kind', 'name'),
      ),
      tie('value'),
      { maxKeys: 4 },
    ) as fc.Arbitrary<Json>,
  ),
})).value;

/** Any JSON, and a right value with something else in one or two of its places. */
function values(...right: Json[]): fc.Arbitrary<Json> {
  const altered = fc
    .tuple(fc.constantFrom(...right), fc.array(fc.tuple(fc.nat(), anyJson), { minLength: 1, maxLength: 2 }))
    .map(([value, alterations]) => {
      const copy = structuredClone(value);
      for (const [place, odd] of alterations) {
        const all = places(copy);
        if (all.length > 0) all[place % all.length]!(structuredClone(odd));
      }
      return copy;
    });
  return fc.oneof(anyJson, altered);
}

function places(value: Json): Array<(odd: Json) => void> {
  if (typeof value !== 'object' || value === null) return [];
  const object = value as Record<string, Json>;
  return Object.keys(object).flatMap((key) => [
    (odd: Json) => {
      object[key] = odd;
    },
    ...places(object[key]!),
  ]);
}

type ErrorClass = abstract new (...args: never[]) => Error;

/** A parser answers, or throws what it says that it throws. */
function holds<T>(
  name: string,
  inputs: fc.Arbitrary<T>,
  parse: (input: T) => unknown,
  ...errors: ErrorClass[]
) {
  it(name, () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const started = performance.now();
        try {
          parse(input);
        } catch (error) {
          if (!errors.some((known) => error instanceof known)) throw error;
        }
        expect(performance.now() - started).toBeLessThan(SLOW_MS);
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
      { numRuns: RUNS, seed: SEED },
    );
  });
}

const HASH = Buffer.alloc(32, 1).toString('base64');
const NOTE = `example.com/log\n5\n${HASH}\n\n\u2014 example.com/log ${Buffer.alloc(68, 2).toString('base64')}\n`;
const KEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const PROOF = `c2sp.org/tlog-proof@v1\nextra ${HASH}\nindex 3\n${HASH}\n${HASH}\n\n${NOTE}`;
const LEAF_TEXT = `whochanged/leaf/v1\ntype event\ncluster c\norigin o\nseq 1\nat 2\nsha256 ${'a'.repeat(64)}\n`;

describe('a parser of files that somebody hands over', () => {
  holds('notes', texts(NOTE), parseNote, NoteError);
  holds('checkpoints', texts(NOTE), parseCheckpoint, NoteError);
  holds('keys', texts(KEY), parseVerifierKey, NoteError);
  holds(
    'proofs',
    texts(PROOF),
    (text) => verifyProofFile(parseProofFile(text), hashLeaf(text), [parseVerifierKey(KEY)]),
    NoteError,
  );
  holds('leaves', texts(LEAF_TEXT), parseLeaf, RangeError);
  holds(
    'policies',
    values({ version: 1, environments: [{ name: 'production', clusters: ['prod'], approvals: 1 }] }),
    readPolicy,
  );
  holds(
    'identities',
    values([{ person: 'alice', usernames: ['a'], emails: ['a@b'] }] as Json),
    validateIdentities,
  );
  holds('hook secrets', values({ github: ['x'.repeat(32)], senders: { a: ['b'] } }), validateHookSecrets);
});

describe('a parser of what clusters say', () => {
  holds('JSON', texts(JSON.stringify(EVENT)), parseJson, SyntaxError);
  holds('events', values(EVENT), (value) => decodeEvent(value), DecodeError);
  holds('items of a batch, which are never a reason to fail', texts(JSON.stringify(EVENT)), (text) =>
    acceptItem(Buffer.from(text), undefined, { rules, digest }),
  );
  holds('items whose fields are of other types', values(EVENT), (value) =>
    acceptItem(Buffer.from(JSON.stringify(value)), undefined, { rules, digest }),
  );
  holds('times', texts('2026-03-02T09:00:00.123456Z', '2026-03-02T09:00:00+02:00'), parseMicros);
  holds(
    'user agents',
    texts('kubectl/v1.32.1 (linux/amd64) kubernetes/abcdef0', 'argocd/v2'),
    parseUserAgent,
  );
  holds(
    'request paths',
    texts('/apis/apps/v1/namespaces/shop/deployments/web/scale?x=y', '/api/v1/pods'),
    refOfPath,
  );
  holds('quantities', fc.oneof(texts('100m', '1.5Gi', '1e3'), anyJson), quantityOf);
  holds('metrics', texts('apiserver_audit_event_total{a="b\\"c"} 1.5e3 1700', 'x 1'), parseSampleLine);
  holds(
    'pages of metrics',
    texts('# HELP x\napiserver_audit_event_total 5\napiserver_audit_error_total{plugin="webhook"} 1\n'),
    (text) => {
      const reader = new AuditCountersReader();
      for (const line of text.split('\n')) reader.take(line);
    },
  );
  holds(
    'admission reviews',
    values({
      kind: 'AdmissionReview',
      apiVersion: 'admission.k8s.io/v1',
      request: {
        uid: 'a',
        operation: 'CREATE',
        resource: { group: '', version: 'v1', resource: 'pods' },
        userInfo: { username: 'x', groups: ['y'], extra: { a: ['b'] } },
        object: {},
      },
    }),
    readAdmissionReview,
    WhochangedError,
  );
  holds(
    'patches',
    fc.tuple(
      fc.constantFrom('json', 'merge', 'strategic', 'apply', 'ambiguous'),
      values(EVENT.responseObject as Json),
      values(
        [
          { op: 'add', path: '/spec/a~1b/0', value: 1 },
          { op: 'move', from: '/spec', path: '/x' },
        ] as Json,
        {
          spec: {
            $patch: 'replace',
            containers: [{ name: 'a', $patch: 'delete' }],
            '$setElementOrder/containers': [{ name: 'a' }],
          },
        },
      ),
    ),
    ([type, object, body]) =>
      typeof object === 'object' && object !== null && !Array.isArray(object)
        ? applyPatch(type as 'json', object, body)
        : undefined,
  );
  holds('pointers', texts('/a/b~1c/~0/-'), parsePointer);
  holds(
    'differences',
    fc.tuple(values(EVENT), values(EVENT)).map(([a, b]) => [{ a }, { a: b }] as [JsonObject, JsonObject]),
    ([before, after]) => diffObjects(before, after),
  );
  holds('canonical JSON, which parses to itself', anyJson, (value) =>
    expect(canonicalJson(JSON.parse(canonicalJson(value)))).toBe(canonicalJson(value)),
  );
  holds(
    'texts to be redacted',
    texts(
      'export DB_PASSWORD="x y"; curl -u a:b https://u:p@h/?token=1',
      '-----BEGIN PRIVATE KEY-----\nabc\n',
    ),
    (text) => redactText(text, digest),
  );
  holds(
    'field paths',
    texts('spec.containers[web].image', 'metadata.annotations["a/b"][=“x”]'),
    (text) => parseFieldPath(formatFieldPath(parseFieldPath(text))),
    WhochangedError,
  );
});

const COMMIT = `tree ${'a'.repeat(40)}\nparent ${'b'.repeat(40)}\nauthor A <a@b> 1700000000 +0200\ncommitter C <c@d> 1700000001 -0000\ngpgsig x\n y\n\nsubject\n\nbody\n\nReviewed-by: D <d@e>\n`;

describe('a parser of what git hosts and ticket systems say', () => {
  holds('commits', texts(COMMIT), (text) => parseCommitObject(Buffer.from(text)), Error);
  holds('trailers', texts('a\n\nSigned-off-by: x <y>\nCo-authored-by: z\n'), readTrailers);
  holds(
    'URLs of repositories',
    texts('https://git.example.com/owner/name.git', 'git@host:owner/name.git', 'ssh://git@h:22/%ff/a'),
    parseRepoURL,
    WhochangedError,
  );
  holds(
    'deliveries of GitHub',
    fc.tuple(
      fc.constantFrom('pull_request', 'pull_request_review', 'push', 'deployment_review', '__proto__'),
      values({
        action: 'closed',
        repository: { full_name: 'a/b', clone_url: 'https://h/a/b.git' },
        pull_request: { number: 1 },
        sender: { login: 'x' },
        ref: 'refs/heads/main',
        before: 'a',
        after: 'b',
      }),
    ),
    ([event, body]) => githubDelivery(event, body, 1),
    WhochangedError,
  );
  holds(
    'deliveries of GitLab',
    values({
      object_kind: 'merge_request',
      project: { path_with_namespace: 'a/b', git_http_url: 'https://h/a/b.git' },
      object_attributes: { iid: 1 },
    }),
    (body) => gitlabDelivery(body, 1),
    WhochangedError,
  );
  holds(
    'signatures',
    fc.tuple(texts('sha256=00', 'v1,AAAA v1,BBBB'), texts('1700000000')),
    ([header, time]) => {
      const body = Buffer.from('{}');
      return [
        verifyGithubSignature(['secret'], body, header),
        verifyGitlabToken(['secret'], header),
        verifyStandardSignature(
          ['c2VjcmV0'],
          { id: header, timestamp: time, signature: header } as never,
          body as never,
          1 as never,
        ),
      ].includes(true);
    },
  );
  holds(
    'approvals',
    values({
      id: '1',
      approver: { login: 'x', email: 'a@b' },
      commit: 'a'.repeat(40),
      at: '2026-01-01T00:00:00Z',
      state: 'approved',
    }),
    (value) => decodeApproval(value, 'x'),
    ItemProblem,
  );
  holds(
    'tickets of ServiceNow',
    values({
      number: 'CHG1',
      state: '-1',
      approval: 'approved',
      start_date: '2026-01-01 00:00:00',
      sys_id: 'x',
    }),
    decodeServiceNow,
    ItemProblem,
  );
  holds(
    'tickets of Jira',
    values({
      key: 'A-1',
      fields: { status: { name: 'Done' }, created: '2026-01-01T00:00:00.000+0000', customfield_1: 'x' },
    }),
    (value) => decodeJira(value, { approvals: 'customfield_1', approvedStates: ['Done'] }),
    ItemProblem,
  );
  holds(
    'attestations',
    values({
      payloadType: 'application/vnd.in-toto+json',
      payload: Buffer.from('{}').toString('base64'),
      signatures: [{ sig: 'AAAA', keyid: 'x' }],
    }),
    (value) => readAttestation(value, []),
    WhochangedError,
  );
  holds('paths of the gate', texts('enforce/fail-closed/deny-unknown'), readGatePath, WhochangedError);
});
