import { RecentMap } from '../recent.js';

/**
 * What a name (of a field, a map key, an environment variable, a flag, a query parameter) says about its value.
 * Bits, since one name can say several things.
 */
export const NAME = {
  /** The value is a secret. */
  sensitive: 1,
  /** As `sensitive`, and certain enough to be believed in the middle of a sentence: "password: x". */
  certain: 2,
  /** The value describes or points at something: a name, a path, a duration. Ends what an outer sensitive name began. */
  reference: 4,
  data: 8,
  stringData: 16,
  /** `value` and `default`, whose meaning stands in a sibling `name` or `key`. */
  value: 32,
  template: 64,
  /** `args` and `command`: a command line. */
  commandLine: 128,
  /** Below it keys are names of fields, not fields: managedFields and CRD schemas. */
  schema: 256,
  /** An annotation that holds a copy of the object. */
  objectCopy: 512,
  message: 1024,
} as const;

const ROLES = new Map<string, number>([
  ['data', NAME.data],
  ['stringData', NAME.stringData],
  ['value', NAME.value],
  ['default', NAME.value],
  ['template', NAME.template],
  ['args', NAME.commandLine],
  ['command', NAME.commandLine],
  ['fieldsV1', NAME.schema],
  ['openAPIV3Schema', NAME.schema],
  ['message', NAME.message],
  ['kubectl.kubernetes.io/last-applied-configuration', NAME.objectCopy],
  ['kapp.k14s.io/original', NAME.objectCopy],
  // Compressed and base64-encoded, so they are always digested whole.
  ['objectset.rio.cattle.io/applied', NAME.objectCopy],
  ['banzaicloud.com/last-applied', NAME.objectCopy],
]);

/** Wrong enough only in a long sentence about secrets; right wherever a value follows. */
const CERTAIN = /passw|passphrase|pass_phrase|api_?key|private_?key|secret_?key|access_?key$|key_data/;

const CACHE_SIZE = 4000;
const CACHED_NAME_LENGTH = 128;
const MAX_NAME_LENGTH = 512;

export interface Names {
  /** The bits of NAME that hold for a name. */
  meaning(name: string): number;
}

/**
 * Names are matched in lower snake case, so that apiKey, API_KEY and api-key are one, and of a qualified name
 * (`example.com/api-key`) only what follows the last slash. Field names repeat in every event: verdicts are kept.
 */
export function compileNames(
  sensitive: readonly RegExp[],
  safe: readonly RegExp[],
  references: readonly string[],
): Names {
  const sensitivePattern = union(sensitive.map((pattern) => pattern.source));
  const safePattern = union(safe.map((pattern) => pattern.source));
  const referencePattern = new RegExp(`(?:^|_)(?:${references.join('|')})$`);

  const judge = (name: string): number => {
    let meaning = ROLES.get(name) ?? 0;
    const local = name.slice(name.lastIndexOf('/') + 1).slice(-MAX_NAME_LENGTH);
    const snake = snakeCase(local);
    if (referencePattern.test(snake)) meaning |= NAME.reference;
    // A name in odd case ("APIkey") splits into odd words; unsplit it still matches.
    const flat = local.toLowerCase().replace(/[^a-z0-9]+/g, '_');
    if (!sensitivePattern.test(snake) && !sensitivePattern.test(flat)) return meaning;
    if (meaning & NAME.reference || safePattern.test(snake)) return meaning | NAME.reference;
    meaning |= NAME.sensitive;
    if (CERTAIN.test(snake) || CERTAIN.test(flat)) meaning |= NAME.certain;
    return meaning;
  };

  const cache = new RecentMap<string, number>(CACHE_SIZE);
  return {
    meaning(name) {
      const known = cache.get(name);
      if (known !== undefined) return known;
      const meaning = judge(name);
      if (name.length <= CACHED_NAME_LENGTH) cache.set(name, meaning);
      return meaning;
    },
  };
}

function union(sources: string[]): RegExp {
  return sources.length === 0 ? /(?!)/ : new RegExp(sources.map((source) => `(?:${source})`).join('|'));
}

function snakeCase(name: string): string {
  return name
    .replace(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, '_')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_');
}
