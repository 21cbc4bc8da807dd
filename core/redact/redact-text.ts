import { isDigest, type KeyedDigest } from './keyed-digest.js';

/** Longer texts are kept by their beginning: what is beyond is one digest. Characters. */
const MAX_LENGTH = 1024 * 1024;

/**
 * Names of fields that are written as they are. All others are digested as values are: in a text that does not parse,
 * nothing but its own spelling tells a name from a value.
 */
const KNOWN_NAMES = new Set([
  ...[
    'kind',
    'apiVersion',
    'items',
    'metadata',
    'level',
    'auditID',
    'stage',
    'requestURI',
    'verb',
    'user',
    'username',
  ],
  ...[
    'uid',
    'groups',
    'extra',
    'impersonatedUser',
    'sourceIPs',
    'userAgent',
    'objectRef',
    'resource',
    'namespace',
  ],
  ...[
    'name',
    'apiGroup',
    'resourceVersion',
    'subresource',
    'responseStatus',
    'code',
    'status',
    'reason',
    'message',
  ],
  ...[
    'requestObject',
    'responseObject',
    'requestReceivedTimestamp',
    'stageTimestamp',
    'timestamp',
    'annotations',
  ],
  ...[
    'creationTimestamp',
    'labels',
    'spec',
    'data',
    'stringData',
    'type',
    'template',
    'containers',
    'env',
    'value',
  ],
]);

const LOWER = /^[a-z]{1,40}$/;
const KIND = /^[A-Z][A-Za-z]{0,59}$/;
const VERSION = /^(?:[a-z][a-z0-9.-]{0,80}\/)?v\d[a-z0-9]{0,12}$/;
const OBJECT_NAME = /^[a-z0-9][a-z0-9.:-]{0,252}$/;
const TIME = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?$/;

/**
 * Values that are written as they are, by the field they stand in and the form they must have. Those of `FIRST_FIELDS`
 * come before it is known that this is an event, so their forms are closed.
 */
const FIRST_FIELDS: Readonly<Record<string, RegExp>> = {
  kind: /^Event(?:List)?$/,
  apiVersion: /^audit\.k8s\.io\/v1(?:alpha1|beta1)?$/,
  level: /^(?:None|Metadata|Request|RequestResponse)$/,
};
const EVENT_FIELDS: Readonly<Record<string, RegExp>> = {
  ...FIRST_FIELDS,
  auditID: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  verb: LOWER,
  stage: /^(?:RequestReceived|ResponseStarted|ResponseComplete|Panic)$/,
  requestReceivedTimestamp: TIME,
  stageTimestamp: TIME,
  timestamp: TIME,
};
const PART_FIELDS: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
  objectRef: {
    resource: LOWER,
    subresource: LOWER,
    namespace: OBJECT_NAME,
    name: OBJECT_NAME,
    apiVersion: VERSION,
    apiGroup: OBJECT_NAME,
  },
  responseStatus: { code: /^\d{3}$/, status: /^(?:Success|Failure)$/, reason: KIND },
  requestObject: { kind: KIND, apiVersion: VERSION },
  responseObject: { kind: KIND, apiVersion: VERSION },
};

/** One piece of the text: white space, a string (perhaps cut off), a structural character, or anything else. */
const TOKEN = /\s+|"[^"\\]*(?:\\[\s\S][^"\\]*)*(?:"|\\?$)|[{}[\],:]|[^\s"{}[\],:]+(?:[ \t]+[^\s"{}[\],:]+)*/g;

/**
 * Redacts text that is not valid JSON, such as an event cut off or corrupted: structure, names and values of a few
 * known fields stay where they stand in the event itself, and everything else (strings, names, numbers, bare words)
 * becomes its digest. What stays must have the form of its field, and never stands inside a body, so that no
 * misreading of broken text can let a secret through. Texts beyond 1 Mi characters are kept by their beginning.
 */
export function redactText(text: string, digest: KeyedDigest): string {
  const hide = (value: string): string => (value === '' || isDigest(value) ? value : digest(value));
  const reader = new BrokenJson();
  let out = '';
  const head = text.slice(0, MAX_LENGTH);
  for (const match of head.matchAll(TOKEN)) {
    const token = match[0];
    const first = token.charAt(0);
    if (/\s/.test(first)) {
      out += token;
    } else if (first === '"') {
      const closed = token.length > 1 && endsUnescaped(token);
      const content = token.slice(1, closed ? -1 : undefined);
      const isName =
        closed && /^\s*:/.test(head.slice(match.index + token.length, match.index + token.length + 16));
      const stays = isName ? KNOWN_NAMES.has(content) : closed && reader.allows(content);
      if (isName) reader.name(content);
      out += `"${stays ? content : hide(content)}${closed ? '"' : ''}`;
    } else if (token.length === 1 && '{}[],:'.includes(token)) {
      reader.structure(token);
      out += token;
    } else {
      const stays = token === 'true' || token === 'false' || token === 'null' || reader.allows(token);
      out += stays ? token : `"${digest(token)}"`;
    }
  }
  return text.length > MAX_LENGTH ? `${out}"${digest(text.slice(MAX_LENGTH))}"` : out;
}

function endsUnescaped(token: string): boolean {
  if (!token.endsWith('"')) return false;
  let slashes = 0;
  while (token[token.length - 2 - slashes] === '\\') slashes++;
  return slashes % 2 === 0;
}

/** Follows the nesting of JSON that may be broken, as far as needed to know the field a value stands in. */
class BrokenJson {
  /** The name under which each open object or list stands; '' for none. */
  #open: string[] = [];
  #name = '';
  /** A level has been read: this is an event, not some object inside one from whose middle the text begins. */
  #inEvent = false;

  name(name: string): void {
    this.#name = name;
  }

  structure(char: string): void {
    if (char === '{' || char === '[') {
      this.#open.push(this.#name);
      this.#name = '';
    } else if (char === '}' || char === ']') {
      this.#open.pop();
      this.#name = '';
    } else if (char === ',') {
      this.#name = '';
    }
  }

  /** Whether a value stands in a known field of an event, or of a part of one, and has that field's form. */
  allows(value: string): boolean {
    const path = this.#open;
    // An event stands alone, or in the items of an EventList.
    const root = path[1] === 'items' ? 3 : 1;
    if (path[0] !== '') return false;
    const depth = path.length - root;
    const part = depth === 1 ? PART_FIELDS[path[root] as string] : undefined;
    const fields =
      depth === 0 ? (this.#inEvent ? EVENT_FIELDS : FIRST_FIELDS) : this.#inEvent ? part : undefined;
    if (fields === undefined || !Object.hasOwn(fields, this.#name)) return false;
    const allowed = (fields[this.#name] as RegExp).test(value);
    if (allowed && this.#name === 'level') this.#inEvent = true;
    return allowed;
  }
}
