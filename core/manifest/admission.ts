/** A mutating webhook that changed a request, as the audit event tells. */
export interface AdmissionMutation {
  webhook: string;
  configuration: string;
  /** JSON Pointers (RFC 6901) that it wrote; undefined where the audit level kept the patch out. */
  paths?: string[];
}

const MUTATION = /^mutation\.webhook\.admission\.k8s\.io\/(round_\d+_index_\d+)$/;
const PATCH_PREFIX = 'patch.webhook.admission.k8s.io/';

/**
 * The webhooks that changed a request, in their order, from the annotations of its audit event
 * (k8s.io/apiserver pkg/admission/plugin/webhook/mutating/dispatcher.go): at level Metadata that they did, from level
 * Request on with their JSON Patch. What can't be read is left out.
 */
export function readMutations(
  annotations: Readonly<Record<string, string>> | undefined,
): AdmissionMutation[] {
  const mutations: AdmissionMutation[] = [];
  for (const [key, text] of Object.entries(annotations ?? {}).sort(byRound)) {
    const place = MUTATION.exec(key)?.[1];
    if (place === undefined) continue;
    const said = parse(text) as { configuration?: unknown; webhook?: unknown; mutated?: unknown } | undefined;
    if (said?.mutated !== true || typeof said.webhook !== 'string') continue;
    const mutation: AdmissionMutation = {
      webhook: said.webhook,
      configuration: typeof said.configuration === 'string' ? said.configuration : '',
    };
    const patch = (parse(annotations?.[PATCH_PREFIX + place] ?? '') as { patch?: unknown } | undefined)
      ?.patch;
    if (Array.isArray(patch))
      mutation.paths = patch.flatMap((operation: { path?: unknown } | null) =>
        typeof operation?.path === 'string' ? [operation.path] : [],
      );
    mutations.push(mutation);
  }
  return mutations;
}

function byRound([a]: [string, string], [b]: [string, string]): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Whether a webhook's patch wrote a place in the object, itself or all of something above it.
 * @param place the keys and positions that lead there
 */
export function wrote(mutation: AdmissionMutation, place: ReadonlyArray<string | number>): boolean {
  return (mutation.paths ?? []).some((pointer) => {
    const parts = pointer
      .split('/')
      .slice(1)
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    if (parts.length > place.length) return false;
    // `-` is the end of a list: any of its items may be the one.
    return parts.every(
      (part, i) => part === String(place[i]) || (part === '-' && typeof place[i] === 'number'),
    );
  });
}
