import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { WhochangedError } from '../../../core/errors.js';
import { FORMATS } from '../../../ingest/formats/format.js';
import { accept, ENVELOPES, POSTED, SAMPLES } from './envelopes.js';

const EVENTS = readFileSync(join(ENVELOPES, 'events.ndjson'), 'utf8');

function refusal(body: string | Buffer): WhochangedError {
  try {
    accept(Buffer.from(body as string), 'auto');
  } catch (error) {
    expect(error).toBeInstanceOf(WhochangedError);
    return error as WhochangedError;
  }
  throw new Error('it was accepted');
}

describe('an object of no known format', () => {
  it('is refused with what was seen, and how to name its format', () => {
    const error = refusal('{"level":"info","password":"synthetic-secret","synthetic-key-7":1}\n{"a":1}\n');
    expect(error).toMatchObject({ code: 'invalid_request' });
    expect(error.message).toBe(
      'none of the known audit log formats: record 1 is a JSON object with the fields level, password (and 1 more like it or unlike)',
    );
    for (const format of FORMATS) expect(error.hint).toContain(format);
    expect(`${error.message}${error.hint}`).not.toMatch(/synthetic/);
    expect(refusal('some text\n').message).toMatch(/record 1 is a line of text of 9 characters$/);
    expect(refusal('[{}]').message).toMatch(/JSON object with the fields none that can be shown$/);
  });

  it('is refused before much of it was read', () => {
    expect(refusal('{"no":"audit event"}\n'.repeat(500)).message).toMatch(/and 100 more/);
    expect(refusal(`{"no":"${'x'.repeat(2_000_000)}"}\n{}`).message).toMatch(/the fields no/);
  });

  it('is told apart from one that only has to be unpacked', () => {
    expect(refusal(gzipSync(EVENTS)).message).toBe('the object is still compressed with gzip');
    expect(refusal('PAR1\u0015\u0004').message).toBe('the object is a packed Parquet file');
  });

  it('is read as what it is said to be', () => {
    const taken = accept(Buffer.from('{"no":"event"}\n'), 'audit-log');
    expect(taken.rejections).toMatchObject([{ reason: 'not_an_audit_event' }]);
  });
});

describe('detection', () => {
  it('waits for a record that tells', () => {
    const taken = accept(Buffer.from(`some banner\n{"no":"event"}\n${EVENTS}`), 'auto');
    expect(taken.format).toBe('audit-log');
    expect(taken.accepted).toHaveLength(4);
    expect(taken.rejections.map(({ reason, detail }) => [reason, detail.split(':')[0]])).toEqual([
      ['not_json', 'record 1'],
      ['not_an_audit_event', 'record 2'],
    ]);
  });

  it('knows a format by what is left of its only record', () => {
    for (const { format, bytes } of SAMPLES.filter(({ path }) =>
      /storage-account|log-sink|security-lake/.test(path),
    )) {
      const first = bytes.toString('utf8').split('\n', 1)[0]!;
      const cut = accept(Buffer.from(first.slice(0, first.length - 40)), 'auto');
      expect(cut).toMatchObject({ format, accepted: [] });
      expect(cut.rejections.map(({ reason }) => reason)).toEqual(['unterminated']);
    }
  });

  it('tells an object without anything in it from one with an empty list', () => {
    expect(accept(Buffer.from(' \n'), 'auto').empty).toBe(true);
    expect(accept(Buffer.from('\uFEFF'), 'aks').empty).toBe(true);
    expect(accept(Buffer.from('{"records":[]}'), 'auto').empty).toBe(false);
    expect(accept(Buffer.from('[]'), 'gke').empty).toBe(false);
    expect(accept(Buffer.from('{"kind":"EventList","items":null}'), 'auto').empty).toBe(false);
  });
});

/** Samples without any of the posted events. */
const OF_THEIR_OWN =
  /\/(authenticator|k3s|rke2|openshift-apiserver|oauth-apiserver|aws-logs-write-test)\.(log|txt)$/;

describe('one request by two ways', () => {
  const posted = accept(POSTED, undefined).accepted;
  const byID = new Map(posted.map((item) => [item.digest.toString('hex'), item.requestID]));
  const auditIDs = new Set(posted.map(({ event }) => event.auditID));
  const unchanged = SAMPLES.filter(({ format }) => format !== 'gke' && format !== 'ocsf');

  it.each(unchanged)('has one digest and one request id, as posted and in $path', ({ bytes, path }) => {
    const { accepted } = accept(bytes, 'auto');
    const same = accepted.filter((item) => byID.get(item.digest.toString('hex')) === item.requestID);
    // What the envelope itself says otherwise: cut records, replaced bodies, an event that was not posted.
    const other = accepted.filter((item) => !same.includes(item));
    for (const { event } of other) {
      const marked = event.annotations?.['whochanged/salvaged'] !== undefined;
      expect(
        marked || event.requestObject === 'skipped-too-big-size-object' || !auditIDs.has(event.auditID),
      ).toBe(true);
    }
    if (!OF_THEIR_OWN.test(path)) expect(same.length).toBeGreaterThan(0);
  });

  it('has one request id, though not one digest, in OCSF', () => {
    const ids = new Set(posted.map(({ requestID }) => requestID));
    for (const { bytes } of SAMPLES.filter(({ format }) => format === 'ocsf'))
      for (const { requestID } of accept(bytes, 'auto').accepted) expect(ids).toContain(requestID);
  });
});

it('keeps an event that is nested too deeply from costing the others', () => {
  const deep = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","requestObject":${'['.repeat(5000)}${']'.repeat(5000)}}`;
  const good = EVENTS.split('\n', 1)[0]!;
  const objects = [
    [deep, good]
      .map((log) => JSON.stringify({ category: 'kube-audit', properties: { log }, time: '' }))
      .join('\n'),
    [deep, good].map((log) => JSON.stringify({ log, stream: 'stdout' })).join('\n'),
    JSON.stringify({ logStream: 'x', logEvents: [deep, good].map((message) => ({ message })) }),
    `${deep}\n${good}\n`,
  ];
  for (const object of objects) {
    const taken = accept(Buffer.from(object), 'auto');
    expect(taken.accepted).toHaveLength(1);
    expect(taken.rejections.map(({ reason }) => reason)).toEqual(['too_deep']);
  }
});
