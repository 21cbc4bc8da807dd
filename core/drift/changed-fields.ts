import type { JsonObject } from '../audit-event.js';
import { deepEqual, diffObjects } from '../diff/diff.js';
import { significantChanges } from '../diff/noise.js';
import { isToolMetadata, normalizeManifest } from '../manifest/manifest.js';

/** What differs between what git wrote and what is there, without what an apiserver and deploying tools write. */
export function changedFields(before: JsonObject, after: JsonObject): string[] {
  return significantChanges(diffObjects(normalizeManifest(before), normalizeManifest(after)))
    .filter(
      ({ before: one, after: other }) => one === undefined || other === undefined || !deepEqual(one, other),
    )
    .map(({ path }) => path)
    .filter((path) => !isToolMark(path));
}

const MARK = /^metadata\.(labels|annotations)(?:\["(.+)"\]|\.(.+))$/;

function isToolMark(path: string): boolean {
  const [, map, quoted, plain] = MARK.exec(path) ?? [];
  return map !== undefined && isToolMetadata(map as 'labels' | 'annotations', quoted ?? plain!);
}

/** Whether one path is the other, or lies below it. */
export function overlap(a: string, b: string): boolean {
  return a === b || isBelow(a, b) || isBelow(b, a);
}

function isBelow(path: string, above: string): boolean {
  return path.startsWith(above) && (path[above.length] === '.' || path[above.length] === '[');
}
