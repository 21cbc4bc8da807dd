import type { Json, JsonObject } from './audit-event.js';
import { isJsonObject } from './classify.js';
import { valueAt } from './diff/apply-diff.js';
import type { FieldChange } from './diff/diff.js';
import { patchedPaths } from './patch/apply-patch.js';
import { inferPatchType } from './patch/infer-patch-type.js';
import type { PatchType } from './vocabulary.js';
import { metadataOf, type Write } from './write.js';

/** The type of a patch; the audit event doesn't carry its Content-Type. */
export function patchTypeOf(write: Write): PatchType | undefined {
  if (write.verb !== 'patch' || write.request === undefined || typeof write.request === 'string')
    return undefined;
  return inferPatchType(write.request as Json, {
    requestURI: write.requestURI,
    managedFields: metadataOf(write.response)?.managedFields ?? null,
    resourceGroup: write.key.apiGroup,
  });
}

/**
 * What a write asked for, when the version before it was never seen: the fields that its patch names, with the values
 * that the response shows for them. Undefined where the body is a whole object, which says nothing of what changed.
 */
export function requestedChanges(write: Write, after: JsonObject | undefined): FieldChange[] | undefined {
  const type = patchTypeOf(write);
  if (!type || type === 'ambiguous') {
    if (write.subresource === 'scale') {
      const body = isJsonObject(write.response as Json) ? (write.response as JsonObject) : undefined;
      const spec = body && isJsonObject(body.spec) ? body.spec : undefined;
      if (spec) return [{ path: 'spec.replicas', op: 'replace', after: spec.replicas ?? 0 }];
    }
    if (type !== 'ambiguous') return undefined;
  }
  return patchedPaths(type === 'ambiguous' ? 'strategic' : type!, write.request as Json, after).map(
    (path) => {
      const value = after && valueAt(after, path);
      return value === undefined
        ? { path, op: 'remove' as const }
        : { path, op: 'replace' as const, after: value };
    },
  );
}
