import { parseAllDocuments } from 'yaml';
import type { JsonObject } from '../../core/audit-event.js';
import { manifestKey, objectsOf } from '../../core/manifest/manifest.js';

const MOST_ALIASES = 100;

/** The Kubernetes objects of a YAML or JSON text; other documents are left out. Undefined: it can't be read. */
export function readManifests(text: string): JsonObject[] | undefined {
  const manifests: JsonObject[] = [];
  for (const document of parseAllDocuments(text)) {
    if (!('toJS' in document)) continue;
    if (document.errors.length > 0) return undefined;
    try {
      const value = document.toJS({ maxAliasCount: MOST_ALIASES }) as JsonObject | null;
      manifests.push(...objectsOf(value).filter((object) => manifestKey(object) !== undefined));
    } catch (error) {
      // A document that is no object (values, settings) is nobody's manifest; one that refers to itself too often is none.
      if (error instanceof ReferenceError) return undefined;
    }
  }
  return manifests;
}
