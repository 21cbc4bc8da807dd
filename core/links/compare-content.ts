import type { JsonObject } from '../audit-event.js';
import type { AdmissionMutation } from '../manifest/admission.js';
import { compareManifest } from '../manifest/compare.js';

/** How what was written stands to what a commit's manifests say, field by field. Values are left out. */
export interface ContentComparison {
  /** `equal`: every field that the manifest sets was written so, whatever was added; `unknown`: it can't be rendered, or wasn't recorded. */
  state: 'equal' | 'different' | 'unknown';
  renderer?: string;
  /** Fields of the manifest that were written otherwise. */
  different: string[];
  /** Of the manifest's fields, those that an admission webhook changed after they were sent as the manifest has them. */
  changedByAdmission: string[];
  /** Fields that neither manifest nor writer set, and an admission webhook did. */
  addedByAdmission: string[];
  /** Fields that the writer sent beside the manifest, such as a controller's marks. */
  addedByWriter: string[];
  /** Fields that the apiserver set: defaults, and what it keeps itself. */
  defaulted?: string[];
  /** Fields beyond the manifest of which nothing tells who set them: the writer, a webhook, a custom resource's default. */
  unexplained?: string[];
  /** The webhooks that the event says changed the request. */
  webhooks?: string[];
  /** Why unknown. */
  detail?: string;
}

const LISTED = 100;

/**
 * Compares a rendered manifest with the object after the write and, where it was sent whole, with the request. Only what
 * the manifest sets is held against the write; the rest is named, with what set it.
 * @param mutations the webhooks that changed the request, by its event's annotations
 */
export function compareContent(
  manifest: JsonObject,
  after: JsonObject,
  request: JsonObject | undefined,
  renderer: string,
  mutations: readonly AdmissionMutation[],
): ContentComparison {
  const written = compareManifest(manifest, after, mutations);
  const sent = request && compareManifest(manifest, request);
  const sentOtherwise = new Set(sent?.differences.map(({ path }) => path));
  const different: string[] = [];
  const changedByAdmission: string[] = [];
  for (const { path, by } of written.differences) {
    const asSaid = sent ? !sentOtherwise.has(path) : by !== undefined;
    (asSaid ? changedByAdmission : different).push(path);
  }
  const sentBesides = new Set(sent?.extras.map(({ path }) => path));
  const found: Record<'admission' | 'writer' | 'server' | 'unexplained', string[]> = {
    admission: [],
    writer: [],
    server: [],
    unexplained: [],
  };
  for (const { path, label, by } of written.extras) {
    if (label === 'tool' || sentBesides.has(path)) found.writer.push(path);
    else if (label === 'admission') found.admission.push(path);
    else if (label === 'default' || label === 'server') found.server.push(path);
    // What was sent without it, and no default explains, a webhook added.
    else (sent || by !== undefined ? found.admission : found.unexplained).push(path);
  }
  return {
    state: different.length > 0 ? 'different' : 'equal',
    renderer,
    different: different.slice(0, LISTED),
    changedByAdmission: changedByAdmission.slice(0, LISTED),
    addedByAdmission: found.admission.slice(0, LISTED),
    addedByWriter: found.writer.slice(0, LISTED),
    defaulted: found.server.slice(0, LISTED),
    unexplained: found.unexplained.slice(0, LISTED),
    ...(mutations.length > 0 && { webhooks: [...new Set(mutations.map(({ webhook }) => webhook))] }),
  };
}

/** What there is to say where the commit's manifest can't be had. */
export function unknownContent(detail: string): ContentComparison {
  return {
    state: 'unknown',
    different: [],
    changedByAdmission: [],
    addedByAdmission: [],
    addedByWriter: [],
    detail,
  };
}

/** A request that tells all that was asked for; a patch tells only what it changes. */
export function wholeObject(request: JsonObject | undefined): JsonObject | undefined {
  return request &&
    typeof request.kind === 'string' &&
    typeof request.metadata === 'object' &&
    request.spec !== undefined
    ? request
    : undefined;
}

/** Whether nothing was written beside what the manifest says, but for what is known to be nobody's wish. */
export function isSameContent(content: ContentComparison): boolean {
  return content.state === 'equal' && !content.unexplained?.length && !content.addedByWriter.some(isWish);
}

/** A mark by which a deploying tool knows its objects is no wish; nor is what the apiserver sets. */
function isWish(path: string): boolean {
  return !/^metadata\.(annotations|labels)\["(kubectl\.kubernetes\.io|argocd\.argoproj\.io|(kustomize|helm)\.toolkit\.fluxcd\.io|meta\.helm\.sh)\//.test(
    path,
  );
}
