import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';

let receiver: TestReceiver;
beforeEach(async () => {
  // A spool that can take nothing, so that a batch is refused once Postgres is away.
  receiver = await startReceiver({ WHOCHANGED_SPOOL_MAX_BYTES: String(1024 * 1024) });
});
afterEach(() => receiver.stop());

async function rows(query: string) {
  return (await receiver.database.pool.query(query)).rows;
}

describe('the receiver', () => {
  it('tells when it was up, and keeps it in a file for when it can’t', async () => {
    await expect.poll(async () => (await rows('select process from receiver_uptimes')).length).toBe(1);
    await receiver.ingest.stop();
    const [uptime, ...others] = await rows('select process, since, until from receiver_uptimes');
    expect(others).toEqual([]);
    expect(Date.parse(uptime.until)).toBeGreaterThanOrEqual(Date.parse(uptime.since));
    const kept = JSON.parse(await readFile(join(receiver.folder, 'spool/uptimes.json'), 'utf8'));
    expect(kept.at(-1)).toMatchObject({
      process: uptime.process,
      since: Date.parse(uptime.since) * 1000 + (kept.at(-1).since % 1000),
    });
  });

  it('tells which batches it refused', async () => {
    expect((await receiver.post('no list of events')).status).toBe(400);
    expect((await receiver.post('')).status).toBe(400);
    await receiver.ingest.stop();
    expect(
      await rows('select source_id, batches, code, until >= since as ordered from refused_batches'),
    ).toEqual([{ source_id: 1, batches: 2, code: 'invalid_request', ordered: true }]);
  });
});
