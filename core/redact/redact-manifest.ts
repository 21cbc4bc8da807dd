import type { JsonObject } from '../audit-event.js';
import { resourceOf } from '../resource-names.js';
import { resourceKey } from './field-paths.js';
import type { KeyedDigest } from './keyed-digest.js';
import { BodyRedactor } from './redact-body.js';
import type { RedactionRules } from './rules.js';

/**
 * Redacts a manifest as the bodies of events about its object are redacted, so that the two can be compared: one secret
 * has one digest in both. May share untouched parts with its input.
 */
export function redactManifest(object: JsonObject, rules: RedactionRules, digest: KeyedDigest): JsonObject {
  const { apiVersion, kind } = object;
  const group = typeof apiVersion === 'string' && apiVersion.includes('/') ? apiVersion.split('/')[0]! : '';
  const resource = typeof kind === 'string' ? pluralOf(kind) : '';
  const aboutSecrets = resource === 'secrets';
  return new BodyRedactor({
    rules,
    digest,
    aboutSecrets,
    aboutSecretMakers: !aboutSecrets && resource.includes('secret'),
    fields: rules.fields.size === 0 ? undefined : rules.fields.get(resourceKey(group, resource)),
  }).body(object) as JsonObject;
}

/** The resource of a kind; of one that is not built in, by the rule that nearly all follow. */
function pluralOf(kind: string): string {
  const { resource } = resourceOf(kind);
  if (resource !== kind.toLowerCase()) return resource;
  return resource.endsWith('s')
    ? `${resource}es`
    : resource.endsWith('y')
      ? `${resource.slice(0, -1)}ies`
      : `${resource}s`;
}
