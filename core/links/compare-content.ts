import type { Json, JsonObject } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import { deepEqual, diffObjects } from '../diff/diff.js';
import { isNoisePath } from '../diff/noise.js';
import { leavesOf } from '../leaves.js';

/** How what was written stands to what a commit's manifests say, field by field. Values are left out. */
export interface ContentComparison {
  /** `equal`: every field that the manifest sets was written so; `unknown`: it can't be rendered, or wasn't recorded. */
  state: 'equal' | 'different' | 'unknown';
  renderer?: string;
  /** Fields of the manifest that were written otherwise. */
  different: string[];
  /** Of those, the ones that were sent as in the manifest: admission changed them. */
  changedByAdmission: string[];
  /** Fields that neither manifest nor request has: defaults and admission webhooks. */
  addedByAdmission: string[];
  /** Fields that the writer sent beside the manifest, such as a controller's marks. */
  addedByWriter: string[];
  /** Why unknown. */
  detail?: string;
}

const LISTED = 100;

/** Marks that GitOps controllers set on everything they apply. */
const MARKS = [
  'metadata.annotations["argocd.argoproj.io/tracking-id"]',
  'metadata.labels["argocd.argoproj.io/instance"]',
  'metadata.labels["app.kubernetes.io/instance"]',
  'metadata.labels["kustomize.toolkit.fluxcd.io/name"]',
  'metadata.labels["kustomize.toolkit.fluxcd.io/namespace"]',
  'metadata.labels["helm.toolkit.fluxcd.io/name"]',
  'metadata.labels["helm.toolkit.fluxcd.io/namespace"]',
];

/**
 * Compares a rendered manifest with the object after the write and, where it was sent whole, with the request. Only what
 * the manifest sets is held against the write; the rest is named.
 */
export function compareContent(
  manifest: JsonObject,
  after: JsonObject,
  request: JsonObject | undefined,
  renderer: string,
): ContentComparison {
  const wanted = leavesOf(stripped(manifest));
  const different: string[] = [];
  const changedByAdmission: string[] = [];
  const found = new Map(leavesOf(stripped(after)).map(({ path, value }) => [path, value]));
  const sent = request && new Map(leavesOf(stripped(request)).map(({ path, value }) => [path, value]));
  for (const { path, value } of wanted) {
    if (isMark(path) || same(value, found.get(path))) continue;
    if (
      isEmpty(value) &&
      (found.get(path) === undefined || [...found.keys()].some((other) => isBelow(other, path)))
    )
      continue;
    different.push(path);
    if (sent && same(value, sent.get(path))) changedByAdmission.push(path);
  }
  const wantedPaths = new Set(wanted.map(({ path }) => path));
  const addedByAdmission: string[] = [];
  const addedByWriter: string[] = [];
  for (const path of found.keys()) {
    if (wantedPaths.has(path)) continue;
    if (sent && !sent.has(path)) addedByAdmission.push(path);
    else if (sent || isMark(path)) addedByWriter.push(path);
    else addedByAdmission.push(path);
  }
  const faults = different.filter((path) => !changedByAdmission.includes(path));
  return {
    state: faults.length > 0 ? 'different' : 'equal',
    renderer,
    different: different.slice(0, LISTED),
    changedByAdmission: changedByAdmission.slice(0, LISTED),
    addedByAdmission: addedByAdmission.slice(0, LISTED),
    addedByWriter: addedByWriter.slice(0, LISTED),
  };
}

/** Whether two objects say the same but for what an apiserver and controllers add: what `equal to git` means for people. */
export function sameContent(a: JsonObject, b: JsonObject): boolean {
  return diffObjects(stripped(a), stripped(b)).every((change) => isMark(change.path));
}

function stripped(object: JsonObject): JsonObject {
  const { status: _, ...rest } = object;
  if (!isJsonObject(rest.metadata)) return rest;
  const metadata = Object.fromEntries(
    Object.entries(rest.metadata).filter(([key]) => key !== 'annotations' && !isNoisePath(`metadata.${key}`)),
  );
  if (isJsonObject(rest.metadata.annotations)) {
    const kept = Object.entries(rest.metadata.annotations).filter(
      ([key]) => !isNoisePath(`metadata.annotations[${JSON.stringify(key)}]`),
    );
    if (kept.length > 0) metadata.annotations = Object.fromEntries(kept);
  }
  return { ...rest, metadata };
}

function isMark(path: string): boolean {
  return MARKS.includes(path);
}

function isBelow(path: string, above: string): boolean {
  return path.startsWith(`${above}.`) || path.startsWith(`${above}[`);
}

function isEmpty(value: Json): boolean {
  return value === null || value === '' || (typeof value === 'object' && Object.keys(value).length === 0);
}

/** Quantities and ports may be written as numbers or texts. */
function same(a: Json, b: Json | undefined): boolean {
  if (b === undefined) return false;
  if (deepEqual(a, b)) return true;
  return typeof a !== 'object' && typeof b !== 'object' && String(a) === String(b);
}
