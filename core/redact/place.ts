import type { Json } from '../audit-event.js';
import { NAME } from './names.js';

/** What the place in the tree says about the values there. Bits; a child inherits them through `placeBelow`. */
export const PLACE = {
  /** In a Secret, or in the body of a request about Secrets: `data` and `stringData` are secret. */
  secret: 1,
  /** In an object that makes Secrets (SealedSecret, ExternalSecret, ...): its `template` is one, in plain text. */
  secretMaker: 2,
  secretTemplate: 4,
  /** In Secret.data: values are secret, and base64. */
  data: 8,
  /** In Secret.stringData or a template's data: values are secret. */
  stringData: 16,
  /** Below a sensitive name or at the end of a configured path: leaves are secret. */
  sensitive: 32,
  /** As `sensitive`, and no name below exempts its value. */
  configured: 64,
  /** Keys are names of fields, so they say nothing of the values. */
  schema: 128,
  /** The items of a command line. */
  commandLine: 256,
} as const;

/** Every value is secret. */
export const WHOLE = PLACE.data | PLACE.stringData;
/** Leaves are secret. */
export const BY_NAME = PLACE.sensitive | PLACE.configured;

/** The place of a member's value, from that of its object and what its name says. */
export function placeBelow(place: number, name: number): number {
  if ((name & NAME.schema) !== 0) return (place & (PLACE.secret | PLACE.configured)) | PLACE.schema;
  if ((place & PLACE.schema) !== 0) return place;
  let below = place & ~PLACE.commandLine;
  if ((name & NAME.reference) !== 0) below &= ~PLACE.sensitive;
  if ((name & NAME.sensitive) !== 0) below |= PLACE.sensitive;
  if ((name & NAME.commandLine) !== 0) below |= PLACE.commandLine;
  if ((name & NAME.template) !== 0 && (place & PLACE.secretMaker) !== 0) below |= PLACE.secretTemplate;
  if ((name & (NAME.data | NAME.stringData)) !== 0) {
    if ((place & PLACE.secretTemplate) !== 0) below |= PLACE.stringData;
    else if ((place & PLACE.secret) !== 0) below |= (name & NAME.data) !== 0 ? PLACE.data : PLACE.stringData;
  }
  return below;
}

/** The place within an object, now that its kind is known. */
export function placeOfKind(kind: Json | undefined, place: number): number {
  if (typeof kind !== 'string' || (place & PLACE.schema) !== 0 || !kind.includes('Secret')) return place;
  return place | (kind === 'Secret' || kind === 'SecretList' ? PLACE.secret : PLACE.secretMaker);
}
