/**
 * The member of an Event, as we give it, that holds the SHA-256 of bodies that were erased lawfully: `requestObject`,
 * `responseObject`. An event's digest is made of its bodies' digests, so the proof of it holds without them.
 */
export const ERASED_DIGESTS = 'whochanged/erased';
