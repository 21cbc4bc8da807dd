import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifierOf } from '../../core/log/note.js';
import { checkpointJob } from '../../jobs/proof-log.js';
import { newSecret } from '../../store/api-tokens.js';
import { findLatestCheckpoint } from '../../store/log/checkpoints.js';
import { verifyLedger } from '../../store/log/verify-ledger.js';
import { migrate } from '../../store/migrate.js';
import { createSource } from '../../store/sources.js';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';
import { findPostgresTools, PostgresWorkshop } from './debian-postgres.js';

const ORIGIN = 'ledger.example.com/whochanged';
const keys = generateKeyPairSync('ed25519');
const trusted = [verifierOf(ORIGIN, keys.publicKey)];
const tools = findPostgresTools();
const cluster = new Cluster();

/** What docs/backup.md says is done here, with Postgres' own tools. */
describe.skipIf(tools === undefined)('a ledger that is restored', () => {
  let workshop: PostgresWorkshop;
  let pool: Pool;
  let receiver: TestReceiver;

  async function fill(names: string[]): Promise<void> {
    const events = names.map((name) => cluster.deployment('create', name, { image: 'web:1' }));
    expect((await receiver.post(eventList(events))).status).toBe(200);
    const client = await pool.connect();
    try {
      await checkpointJob({ origin: ORIGIN, privateKey: keys.privateKey }).runOnce({
        client,
        now: () => new Date(),
        log: { info: () => undefined, warn: () => undefined, error: () => undefined },
        signal: new AbortController().signal,
      });
    } finally {
      client.release();
    }
  }

  /** The problems that a restored ledger has by a checkpoint that was kept elsewhere, and its events. */
  async function check(
    name: string,
    database: string,
    copy: string,
  ): Promise<{ problems: string[]; events: number }> {
    const restored = workshop.pool(name, database);
    const problems: string[] = [];
    try {
      // A newer version of whochanged starts on it as on any other.
      await migrate(restored);
      const verdict = await verifyLedger(
        restored,
        trusted,
        [copy],
        (problem) => problems.push(problem),
        () => undefined,
      );
      return { problems, events: verdict.records.event };
    } finally {
      await restored.end();
    }
  }

  beforeAll(async () => {
    workshop = await PostgresWorkshop.open(tools!);
    await workshop.create('main');
    await workshop.start('main');
    const admin = workshop.pool('main', 'postgres');
    await admin.query('create database ledger');
    await admin.end();
    pool = workshop.pool('main', 'ledger');
    await migrate(pool);
    const { secret, sha256 } = newSecret('wcs');
    const client = await pool.connect();
    await createSource(client, { name: 'prod-a', cluster: 'prod', secretSha256: sha256 });
    client.release();
    const database = {
      pool,
      options: { poolSize: 4, applicationName: 'test' },
      url: '',
      drop: async () => undefined,
    };
    receiver = await startReceiver({}, { database, token: secret } as unknown as TestReceiver);
  }, 120_000);
  afterAll(async () => {
    await receiver?.stop();
    await pool?.end();
    await workshop?.close();
  });

  it('from a dump verifies, and lacks nothing', async () => {
    await fill(['a', 'b', 'c']);
    const copy = (await findLatestCheckpoint(pool))!.note;
    const at = ['-h', workshop.host('main'), '-U', 'whochanged'];
    await workshop.run('pg_dump', ...at, '-Fc', '-f', 'ledger.dump', 'ledger');
    const admin = workshop.pool('main', 'postgres');
    await admin.query('create database restored');
    await admin.end();
    await workshop.run('pg_restore', ...at, '--exit-on-error', '-d', 'restored', 'ledger.dump');
    expect(await check('main', 'restored', copy)).toEqual({ problems: [], events: 3 });
  }, 120_000);

  it('to a point in time verifies up to then, and a later checkpoint says what is missing', async () => {
    await workshop.run(
      'pg_basebackup',
      '-h',
      workshop.host('main'),
      '-U',
      'whochanged',
      '-D',
      'base',
      '-c',
      'fast',
      '-X',
      'none',
    );
    await fill(['d', 'e']);
    const before = (await findLatestCheckpoint(pool))!.note;
    const { rows } = await pool.query<{ at: string }>('select clock_timestamp()::text as at');
    await new Promise((done) => setTimeout(done, 50));
    await fill(['f']);
    const after = (await findLatestCheckpoint(pool))!.note;
    await pool.query('select pg_switch_wal()');
    await expect
      .poll(
        async () =>
          (
            await pool.query(
              'select last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) as yes from pg_stat_archiver',
            )
          ).rows[0].yes,
        { timeout: 30_000 },
      )
      .toBe(true);

    await workshop.configure('base', {
      archive_mode: 'off',
      restore_command: `cp ${join(workshop.folder, 'wal')}/%f %p`,
      recovery_target_time: rows[0]!.at,
      recovery_target_action: 'promote',
    });
    await writeFile(join(workshop.folder, 'base', 'recovery.signal'), '');
    await workshop.start('base');
    const restored = workshop.pool('base', 'ledger');
    await expect
      .poll(async () => (await restored.query('select pg_is_in_recovery() as yes')).rows[0].yes, {
        timeout: 30_000,
      })
      .toBe(false);
    await restored.end();

    expect(await check('base', 'ledger', before)).toEqual({ problems: [], events: 5 });
    expect((await check('base', 'ledger', after)).problems).toEqual([
      'the log was cut: it has 5 leaves, and a checkpoint (copy) was signed over 6',
    ]);
  }, 120_000);
});
