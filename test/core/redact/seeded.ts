import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type { AuditEvent, Json, ObjectReference } from '../../../core/audit-event.js';
import { createKeyedDigest } from '../../../core/redact/keyed-digest.js';
import { redactEvent } from '../../../core/redact/redact-event.js';
import { compileRedactionRules, DEFAULT_REDACTION_RULES } from '../../../core/redact/rules.js';

export const rules = compileRedactionRules(DEFAULT_REDACTION_RULES);
export const digest = createKeyedDigest(Buffer.from('a key for tests, 32 bytes of it.'));

export const redact = (event: AuditEvent): AuditEvent => redactEvent(structuredClone(event), rules, digest);

/** An event as the apiserver writes it; `ref` is its objectRef, default a Deployment. */
export function auditEvent(
  over: Partial<AuditEvent> = {},
  ref: ObjectReference = { resource: 'deployments', apiGroup: 'apps' },
): AuditEvent {
  return {
    apiVersion: 'audit.k8s.io/v1',
    level: 'RequestResponse',
    auditID: '2e7a6b1c-6f0e-4f35-9d3c-0d2b1a9f8e77',
    stage: 'ResponseComplete',
    requestURI: '/apis/apps/v1/namespaces/prod/deployments/web?fieldManager=kubectl-edit',
    verb: 'patch',
    user: { username: 'alice@example.com', groups: ['developers', 'system:authenticated'] },
    sourceIPs: ['10.1.2.3'],
    userAgent: 'kubectl/v1.32.0 (linux/amd64) kubernetes/70d3cc9',
    objectRef: { namespace: 'prod', name: 'web', apiVersion: 'v1', ...ref },
    responseStatus: { code: 200 },
    requestReceivedTimestamp: 1_700_000_000_000_000,
    stageTimestamp: 1_700_000_000_004_000,
    annotations: { 'authorization.k8s.io/decision': 'allow' },
    ...over,
  };
}

export const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** A body in a request and a response, redacted; returns the response's. */
export function redactBody(body: Json, ref?: ObjectReference): Json {
  const out = redact(auditEvent({ requestObject: body, responseObject: body }, ref));
  return out.responseObject as Json;
}

const ALPHABETS = {
  /** What may stand in a URL, a flag or a line unquoted. */
  token: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~.+',
  /** What may stand in a whole JSON string. */
  any: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 "\'\\\n\t:=@/{}[],&%$#ßé漢🔑',
} as const;

/** Random secrets of 12 to 40 characters. Derived from a seed by hashing, so that shrinking keeps them random. */
export function secrets(alphabet: keyof typeof ALPHABETS): fc.Arbitrary<string> {
  const characters = [...ALPHABETS[alphabet]];
  return fc.tuple(fc.integer(), fc.integer({ min: 12, max: 40 })).map(([seed, length]) => {
    const bytes = createHash('shake256', { outputLength: length }).update(`${alphabet} ${seed}`).digest();
    const text = [...bytes].map((byte) => characters[byte % characters.length]).join('');
    // A leading dash would be a flag, a leading brace might be JSON: begin with a letter.
    return `s${text}`;
  });
}

/** The forms of a secret, or pieces of it, found in a text. */
export function leaks(secret: string, text: string): string[] {
  const forms = [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)];
  const bytes = Buffer.from(secret);
  forms.push(bytes.toString('base64').replace(/=+$/, ''), bytes.toString('base64url'), bytes.toString('hex'));
  for (let i = 0; i + 12 <= secret.length; i++) forms.push(secret.slice(i, i + 12));
  return forms.filter((form) => text.includes(form));
}
