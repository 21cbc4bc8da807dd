import type { AuditEvent, Json } from '../audit-event.js';
import { resourceKey } from './field-paths.js';
import type { KeyedDigest } from './keyed-digest.js';
import { BodyRedactor } from './redact-body.js';
import { redactRequestURI } from './request-uri.js';
import type { RedactionRules } from './rules.js';

/**
 * Replaces every secret value of an event by its keyed digest, in its bodies and everywhere else: clients choose
 * Audit-ID, User-Agent, X-Forwarded-For and the names in a path, and messages quote what was rejected.
 *
 * Names of fields and the structure stay, so that a diff shows which key changed; null and empty values stay; numbers,
 * booleans and objects in a Secret's data are digested over their canonical JSON text; values of Secret.data are
 * digested decoded, so that one secret has one digest in data, stringData and elsewhere. Subtrees below depth 128 are
 * digested whole. Who did it (users, groups, extra) stays unless it looks like a token or is named as one. Redacting
 * twice changes nothing more.
 *
 * Fields that an event does not have are redacted too, so a record that could not be decoded may be passed.
 * The result may share untouched parts with `event`, which must not be used afterwards.
 */
export function redactEvent(event: AuditEvent, rules: RedactionRules, digest: KeyedDigest): AuditEvent {
  const redactor = eventRedactor(event, rules, digest);
  const original = event as unknown as Readonly<Record<string, Json | undefined>>;
  let redacted: Record<string, Json | undefined> | undefined;
  for (const key of Object.keys(original)) {
    const value = original[key];
    if (value === undefined || typeof value === 'number') continue;
    const next = redactField(redactor, key, value, rules, digest);
    if (next === value) continue;
    redacted ??= { ...original };
    redacted[key] = next;
  }
  return (redacted ?? original) as unknown as AuditEvent;
}

function redactField(
  redactor: BodyRedactor,
  key: string,
  value: Json,
  rules: RedactionRules,
  digest: KeyedDigest,
): Json {
  switch (key) {
    case 'level':
    case 'stage':
    case 'apiVersion':
      // Closed word lists, once decoded.
      return typeof value === 'string' && value.length <= 22 ? value : redactor.field(key, value);
    case 'requestURI':
      return typeof value === 'string' ? redactRequestURI(value, rules, digest) : redactor.field(key, value);
    case 'requestObject':
    case 'responseObject':
      return redactor.body(value);
    default:
      return redactor.field(key, value);
  }
}

function eventRedactor(event: AuditEvent, rules: RedactionRules, digest: KeyedDigest): BodyRedactor {
  const ref = event.objectRef;
  const resource = ref?.resource;
  // An aggregated API's `secrets` are taken for Secrets too, and so is what names no resource: at worst too much is hidden.
  const aboutSecrets = typeof resource !== 'string' || resource === 'secrets';
  return new BodyRedactor({
    rules,
    digest,
    aboutSecrets,
    aboutSecretMakers: !aboutSecrets && resource.includes('secret'),
    fields:
      rules.fields.size === 0
        ? undefined
        : rules.fields.get(resourceKey(ref?.apiGroup ?? '', resource ?? '')),
  });
}
