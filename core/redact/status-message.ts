import type { KeyedDigest } from './keyed-digest.js';
import { hideString } from './redact-string.js';

/**
 * The apiserver quotes rejected input in its messages (k8s.io/apimachinery field.Error: `path: Invalid value: "..."`;
 * JSON decoders: `error found in #10 byte of ...|context|..., bigger context ...|context|...`), and for some errors a
 * whole object as Go or JSON text. About Secrets every quoted value is digested; about other objects plain values
 * stay, and quoted objects go, because names and values cannot be told apart in them reliably.
 */
export function redactStatusMessage(message: string, aboutSecret: boolean, digest: KeyedDigest): string {
  const out = redactDecoderContext(message, digest);
  const marker = /(?:Invalid|Unsupported|Duplicate) value: /.exec(out);
  if (marker === null) return out;
  const start = marker.index + marker[0].length;
  const quoted = out.slice(start);
  if (quoted.startsWith('[redacted:')) return out;
  if (!aboutSecret && !/^(?:"[{[]|[&*]?[\w.[\]]*\{|map\[|\[)/.test(quoted)) return out;
  // `: field is immutable` and the like. The value may hold the same text, so the last colon counts.
  const reason = /: [\w ,'()-]{1,200}$/.exec(quoted);
  const value = reason === null ? quoted : quoted.slice(0, reason.index);
  return out.slice(0, start) + digest(value) + quoted.slice(value.length);
}

/** Decoders quote the input around the error between `...|` and `|...`. */
function redactDecoderContext(message: string, digest: KeyedDigest): string {
  const start = message.indexOf('...|') + 4;
  const end = message.lastIndexOf('|...');
  if (start < 4 || end < start) return message;
  return message.slice(0, start) + hideString(message.slice(start, end), digest) + message.slice(end);
}
