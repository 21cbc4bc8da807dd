import type { Json, JsonObject } from '../audit-event.js';
import { isHarmless } from './assignments.js';
import { canonicalText } from './canonical-text.js';
import { CommandLine } from './command-line.js';
import { descend, type FieldPath, type OpenPaths, openPaths } from './field-paths.js';
import type { KeyedDigest } from './keyed-digest.js';
import { NAME } from './names.js';
import { BY_NAME, PLACE, placeBelow, placeOfKind, WHOLE } from './place.js';
import { hideString, redactJsonText, redactString, secretDataText } from './redact-string.js';
import type { RedactionRules } from './rules.js';
import { scanText } from './scan.js';
import { redactStatusMessage } from './status-message.js';

/** Deeper subtrees are digested whole. Real objects stay under 50 (CRD schemas). */
const MAX_DEPTH = 128;

export interface BodyRedaction {
  readonly rules: RedactionRules;
  readonly digest: KeyedDigest;
  /** The event is about core Secrets, whatever its bodies say of their kind. */
  readonly aboutSecrets: boolean;
  /** The event's resource makes Secrets. */
  readonly aboutSecretMakers: boolean;
  /** The configured fields of the event's resource. */
  readonly fields: readonly FieldPath[] | undefined;
}

/** Redacts the parts of one event. Shares what does not change with its input. */
export class BodyRedactor {
  readonly #of: BodyRedaction;
  readonly #rules: RedactionRules;
  readonly #digest: KeyedDigest;
  readonly #place: number;

  constructor(redaction: BodyRedaction) {
    this.#of = redaction;
    this.#rules = redaction.rules;
    this.#digest = redaction.digest;
    this.#place =
      (redaction.aboutSecrets ? PLACE.secret : 0) | (redaction.aboutSecretMakers ? PLACE.secretMaker : 0);
  }

  /** A request or response body: an object, a list, or a patch of any type. Configured paths begin here. */
  body(body: Json): Json {
    return this.#root(body, this.#place, 0);
  }

  /** Another field of the event. */
  field(key: string, value: Json): Json {
    return this.#member(key, value, undefined, this.#place, undefined, 0);
  }

  #root(body: Json, place: number, depth: number): Json {
    return this.#value(body, place, this.#of.fields && openPaths(this.#of.fields), depth);
  }

  #value(value: Json, place: number, open: OpenPaths | undefined, depth: number): Json {
    if (typeof value === 'string') return this.#string(value, place, depth);
    if (value === null || typeof value !== 'object') {
      // A switch such as automountServiceAccountToken is no secret.
      const hidden = typeof value === 'number' ? BY_NAME : PLACE.configured;
      return value !== null && (place & hidden) !== 0 ? this.#digest(String(value)) : value;
    }
    if (depth >= MAX_DEPTH) return this.#digest(canonicalText(value));
    return Array.isArray(value)
      ? this.#array(value, place, open, depth)
      : this.#object(value, place, open, depth);
  }

  #string(text: string, place: number, depth: number): string {
    if (text.length < 6 && place === 0) return text;
    if ((place & PLACE.configured) !== 0) return hideString(text, this.#digest);
    if ((place & PLACE.sensitive) !== 0 && !isHarmless(text)) return hideString(text, this.#digest);
    return redactString(text, this.#rules, this.#digest, (parsed) =>
      this.#value(parsed, place, undefined, depth + 1),
    );
  }

  #array(array: Json[], place: number, open: OpenPaths | undefined, depth: number): Json[] {
    if ((place & PLACE.commandLine) !== 0) return this.#commandLine([], array, place, depth);
    let out = array;
    for (let i = 0; i < array.length; i++) {
      const item = array[i] as Json;
      const step = open && descend(open, String(i));
      const redacted = this.#value(
        item,
        step?.secret ? place | PLACE.configured : place,
        step?.open,
        depth + 1,
      );
      if (redacted === item) continue;
      if (out === array) out = array.slice();
      out[i] = redacted;
    }
    return out;
  }

  #object(object: JsonObject, outer: number, open: OpenPaths | undefined, depth: number): JsonObject {
    if (isPatchOperation(object)) return this.#patchOperation(object, outer, depth);
    const place = placeOfKind(object.kind, outer);
    const plain = place === 0 && open === undefined;
    let out = object;
    for (const key of Object.keys(object)) {
      const value = object[key] as Json;
      // Nearly every member: its name says nothing of its value, and neither does its place.
      const redacted =
        plain && key !== 'rows' && this.#rules.names.meaning(key) === 0
          ? this.#value(value, 0, undefined, depth + 1)
          : this.#member(key, value, object, place, open, depth);
      if (redacted === value) continue;
      // A spread copies an own `__proto__` as the plain member it is, and assigning to it then stays plain.
      if (out === object) out = { ...object };
      out[key] = redacted;
    }
    return out;
  }

  /** One member of an object; `siblings` is undefined where only a path tells of the object. */
  #member(
    key: string,
    value: Json,
    siblings: JsonObject | undefined,
    place: number,
    open: OpenPaths | undefined,
    depth: number,
  ): Json {
    if (value === null || value === '') return value;
    if ((place & WHOLE) !== 0)
      return key === '$patch' && isPatchDirective(value) ? value : this.#hide(value, place);
    const name = this.#rules.names.meaning(key);
    let below = name === 0 && place === 0 ? 0 : placeBelow(place, name);
    if (open !== undefined) {
      // Each item of a list is an object of its own.
      if (key === 'items' && Array.isArray(value) && open[0]?.taken === 0)
        return this.#items(value, place, depth);
      const step = descend(open, key);
      if (step.secret) below |= PLACE.configured;
      open = step.open;
    }
    if (name === 0 && below === 0 && key !== 'rows') return this.#value(value, 0, open, depth + 1);
    if ((below & PLACE.schema) !== 0 && (below & (WHOLE | BY_NAME)) === 0 && holdsOnlyKeys(value, depth))
      return value;
    // Secret.data is a map; anything else in its place is not told apart.
    if ((below & WHOLE) !== 0 && (typeof value !== 'object' || Array.isArray(value)))
      return this.#hide(value, below);
    if ((name & NAME.value) !== 0 && this.#isSecretPair(siblings, place)) below |= PLACE.sensitive;
    if (typeof value === 'string') {
      if ((name & NAME.objectCopy) !== 0) return this.#objectCopy(value, place, depth);
      if ((name & NAME.message) !== 0) return this.#message(value, below, depth);
    }
    if (Array.isArray(value) && siblings !== undefined) {
      if (key === 'args' && Array.isArray(siblings.command))
        return this.#commandLine(siblings.command, value, below, depth);
      if (key === 'rows' && Array.isArray(siblings.columnDefinitions)) {
        return this.#tableRows(value, siblings.columnDefinitions, below, depth);
      }
    }
    // `secretKey` of an ExternalSecret's entry names a key.
    if (key === 'secretKey' && siblings !== undefined && ('remoteRef' in siblings || 'sourceRef' in siblings))
      return value;
    return this.#value(value, below, open, depth + 1);
  }

  #items(items: Json[], place: number, depth: number): Json[] {
    let out = items;
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as Json;
      const redacted = this.#root(item, place, depth + 2);
      if (redacted === item) continue;
      if (out === items) out = items.slice();
      out[i] = redacted;
    }
    return out;
  }

  /** meta.k8s.io Table: a cell's name stands in its column's definition. */
  #tableRows(rows: Json[], columns: Json[], place: number, depth: number): Json[] {
    const secret = columns.map((column) => {
      const name = isObject(column) ? column.name : undefined;
      return typeof name === 'string' && (this.#rules.names.meaning(name) & NAME.sensitive) !== 0;
    });
    return rows.map((row) => {
      const redacted = this.#value(row, place, undefined, depth + 1);
      if (!isObject(redacted) || !Array.isArray(redacted.cells) || !secret.includes(true)) return redacted;
      const cells = redacted.cells.map((cell, i) => (secret[i] ? this.#hide(cell, 0) : cell));
      return { ...redacted, cells };
    });
  }

  /** Of `{name, value}` and `{key, value}` pairs: whether the name makes the value secret. Without one, it may be. */
  #isSecretPair(siblings: JsonObject | undefined, place: number): boolean {
    if ((place & PLACE.schema) !== 0) return false;
    if (siblings === undefined) return true;
    if ((place & PLACE.secretMaker) !== 0) return true;
    const name = typeof siblings.name === 'string' ? siblings.name : siblings.key;
    return typeof name === 'string' && (this.#rules.names.meaning(name) & NAME.sensitive) !== 0;
  }

  #hide(value: Json, place: number): Json {
    if (value === null) return null;
    if (typeof value !== 'string') return this.#digest(canonicalText(value));
    return hideString((place & PLACE.data) !== 0 ? secretDataText(value) : value, this.#digest);
  }

  /** An annotation that copies the object it stands on: redacted as that object, or digested if it can't be read. */
  #objectCopy(text: string, place: number, depth: number): string {
    const redacted = redactJsonText(text, (copy) => this.#root(copy, place & ~BY_NAME, depth + 1));
    return redacted ?? hideString(text, this.#digest);
  }

  #message(text: string, place: number, depth: number): string {
    const message = redactStatusMessage(text, (place & PLACE.secret) !== 0, this.#digest);
    return this.#string(message, place, depth);
  }

  #commandLine(command: Json[], items: Json[], place: number, depth: number): Json[] {
    const line = new CommandLine(this.#rules.names, this.#digest);
    for (const word of command) if (typeof word === 'string') line.next(word);
    const redacted = items.map((item) => {
      if (typeof item !== 'string')
        return this.#value(item, place & ~PLACE.commandLine, undefined, depth + 1);
      const known = line.next(item);
      if (known !== undefined) return known;
      return item.startsWith('-')
        ? scanText(item, this.#rules, this.#digest, true)
        : this.#string(item, 0, depth);
    });
    return redacted.every((item, i) => item === items[i]) ? items : redacted;
  }

  /** RFC 6902: `path` tells what `value` is, as the keys above it would. */
  #patchOperation(operation: JsonObject & { path: string }, place: number, depth: number): JsonObject {
    let out = operation;
    for (const key of Object.keys(operation)) {
      const value = operation[key] as Json;
      const redacted =
        key === 'value'
          ? this.#valueAt(operation.path, value, place, depth)
          : this.#member(key, value, operation, place, undefined, depth);
      if (redacted === value) continue;
      if (out === operation) out = { ...operation };
      out[key] = redacted;
    }
    return out;
  }

  #valueAt(path: string, value: Json, root: number, depth: number): Json {
    const keys = path
      .split('/')
      .slice(1)
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop();
    let open = this.#of.fields && openPaths(this.#of.fields);
    if (last === undefined) return this.#value(value, root, open, depth + 1);
    let place = root;
    for (const key of keys) {
      if (open !== undefined) {
        const step = descend(open, key);
        if (step.secret) place |= PLACE.configured;
        open = step.open;
      }
      if ((place & WHOLE) === 0) place = placeBelow(place, this.#rules.names.meaning(key));
    }
    // One item of a command line: what stands before it, and so whether it is a password, is not known.
    if ((place & PLACE.commandLine) !== 0 && typeof value === 'string') {
      return value.startsWith('-')
        ? scanText(value, this.#rules, this.#digest, true)
        : hideString(value, this.#digest);
    }
    return this.#member(last, value, undefined, place, open, depth);
  }
}

function isObject(value: Json): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Nothing but keys, such as fieldsV1 of managedFields. */
function holdsOnlyKeys(value: Json, depth: number): boolean {
  if (value === null || typeof value !== 'object' || depth >= MAX_DEPTH) return false;
  if (Array.isArray(value)) return false;
  for (const key in value) if (!holdsOnlyKeys(value[key] as Json, depth + 1)) return false;
  return true;
}

function isPatchOperation(value: Json): value is JsonObject & { op: string; path: string } {
  return isObject(value) && typeof value.op === 'string' && typeof value.path === 'string';
}

function isPatchDirective(value: Json): boolean {
  return value === 'replace' || value === 'merge' || value === 'delete';
}
