import { parentPort, workerData } from 'node:worker_threads';
import { WhochangedError } from '../../core/errors.js';
import { createKeyedDigest } from '../../core/redact/keyed-digest.js';
import { compileRedactionRules, type RedactionRuleSet } from '../../core/redact/rules.js';
import { DictionaryIDs } from '../../store/dictionaries.js';
import type { Format } from '../formats/format.js';
import { type Acceptor, openAcceptor } from './acceptance.js';
import { giveBack, packTaken, type TakenMessage, transferred } from './message.js';

/** What the thread is started with. The key is in this process's memory already. */
export interface ThreadData {
  rules: RedactionRuleSet;
  key: Uint8Array;
  maxItemBytes: number;
}

export type ToThread =
  | { type: 'open'; body: number; format: Format | 'auto' }
  | { type: 'push'; body: number; chunk: Uint8Array<ArrayBuffer> }
  | { type: 'end'; body: number }
  | { type: 'abandon'; body: number };

/** The answer to a `push` or an `end`, in the order they were asked. */
export type FromThread =
  | { ok: true; taken: TakenMessage }
  | { ok: false; message: string; refusal?: { detail: string; hint: string | undefined } };

const { rules, key, maxItemBytes } = workerData as ThreadData;
const redaction = { rules: compileRedactionRules(rules), digest: createKeyedDigest(key) };
const ids = new DictionaryIDs();
const bodies = new Map<number, Acceptor>();

function taken(message: Exclude<ToThread, { type: 'abandon' | 'open' }>): TakenMessage {
  const body = bodies.get(message.body) ?? openAcceptor(redaction, maxItemBytes, undefined);
  bodies.set(message.body, body);
  if (message.type === 'push') {
    const { buffer, byteOffset, length } = message.chunk;
    const answer = packTaken(body.push(Buffer.from(buffer, byteOffset, length)), ids);
    giveBack([buffer]);
    return answer;
  }
  bodies.delete(message.body);
  return packTaken(body.end(), ids);
}

parentPort!.on('message', (message: ToThread) => {
  if (message.type === 'abandon') {
    bodies.delete(message.body);
    return;
  }
  if (message.type === 'open') {
    bodies.set(message.body, openAcceptor(redaction, maxItemBytes, message.format));
    return;
  }
  try {
    const answer = taken(message);
    parentPort!.postMessage({ ok: true, taken: answer } satisfies FromThread, transferred(answer));
  } catch (error) {
    bodies.delete(message.body);
    // Of others its name only: a message could quote what was being read.
    const refusal =
      error instanceof WhochangedError && error.code === 'invalid_request'
        ? { detail: error.message, hint: error.hint }
        : undefined;
    parentPort!.postMessage({
      ok: false,
      message: (error as Error).name,
      ...(refusal && { refusal }),
    } satisfies FromThread);
  }
});
