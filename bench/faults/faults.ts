import { readdirSync } from 'node:fs';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLUSTER_LOCK } from '../../store/cluster-lock.js';
import type { Replica } from './replica.js';
import type { World } from './world.js';

/** What goes wrong while the load runs. `run` brings it about, and ends it. */
export interface Fault {
  name: string;
  says: string;
  /** Needs disks of their own. */
  disks?: true;
  /** Needs more than one process that could lead the jobs. */
  leaders?: true;
  /** @returns what was seen besides */
  run(world: World): Promise<string> | Promise<void>;
}

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';
/** Beyond it, nobody will. */
const LEAD_MS = 120_000;
/** Stays free on a disk that is filled, so that writes begin and break off. */
const LEFT_BYTES = 300_000;

async function withDatabase(world: World, passage: 'refuse' | 'silent', seconds: number): Promise<void> {
  world.database.set(passage);
  await sleep(seconds * 1000);
  world.database.set('pass');
}

/** The process that leads the jobs, and how long it took until one did. */
async function nextLeader(world: World, among: Replica[]): Promise<{ leader: Replica; seconds: string }> {
  const began = performance.now();
  while (performance.now() - began < LEAD_MS) {
    for (const replica of among)
      if (
        replica.pid !== undefined &&
        (await replica.metric('whochanged_jobs_leader', world.adminToken)) === 1
      )
        return { leader: replica, seconds: ((performance.now() - began) / 1000).toFixed(1) };
    await sleep(100);
  }
  throw new Error(`nobody leads the jobs after ${LEAD_MS / 1000} s`);
}

/** Whether a session holds a cluster's lock and has asked nothing for so long. */
async function someoneHolds({ pool }: World, milliseconds: number): Promise<boolean> {
  const { rowCount } = await pool.query(
    `select from pg_locks l join pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'advisory' and l.classid = $1 and l.granted and a.state = 'idle in transaction'
        and a.state_change < clock_timestamp() - $2 * interval '1 millisecond'`,
    [CLUSTER_LOCK, milliseconds],
  );
  return rowCount! > 0;
}

async function fill(path: string): Promise<() => Promise<void>> {
  const { bavail, bsize } = await statfs(path);
  const ballast = join(path, 'ballast');
  await writeFile(ballast, Buffer.alloc(Math.max(0, bavail * bsize - LEFT_BYTES), 1)).catch((error) => {
    // Whoever uses the disk has taken the room meanwhile.
    if (error.code !== 'ENOSPC') throw error;
  });
  return () => rm(ballast);
}

/** Starts replicas again whose clocks are off by so much, for a while. */
async function skewed(world: World, offsets: string[], seconds: number): Promise<void> {
  const changed = world.replicas.slice(0, offsets.length);
  for (const [i, replica] of changed.entries()) {
    await replica.stop();
    await replica.start({
      LD_PRELOAD: FAKETIME,
      FAKETIME: offsets[i]!,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_NO_CACHE: '1',
    });
  }
  await sleep(seconds * 1000);
  for (const replica of changed) {
    await replica.stop();
    await replica.start();
  }
}

export const FAULTS: Fault[] = [
  {
    name: 'none',
    says: 'nothing happens',
    run: async () => {
      await sleep(10_000);
    },
  },
  {
    name: 'postgres-killed',
    says: 'kill -9 of the postmaster, twice',
    run: async ({ postgres }) => {
      for (let i = 0; i < 2; i++) {
        process.kill(postgres.pid()!, 'SIGKILL');
        await sleep(8000);
      }
    },
  },
  {
    name: 'postgres-paused',
    says: 'SIGSTOP of Postgres for 30 s',
    run: async (world) => {
      const resume = world.pausePostgres();
      await sleep(30_000);
      resume();
    },
  },
  {
    name: 'postgres-unreachable',
    says: 'connections to Postgres are reset and refused for 20 s',
    run: (world) => withDatabase(world, 'refuse', 20),
  },
  {
    name: 'postgres-silent',
    says: 'nothing gets through to Postgres for 30 s, connections stay open',
    run: (world) => withDatabase(world, 'silent', 30),
  },
  {
    name: 'replica-killed',
    says: 'kill -9 of a replica that receives and reads the bucket; back after 5 s',
    run: async ({ replicas }) => {
      await replicas[0]!.kill();
      await sleep(5000);
      await replicas[0]!.start();
    },
  },
  {
    name: 'replica-killed-spooling',
    says: 'kill -9 of a replica while Postgres is away and its spool fills; Postgres comes back before it',
    run: async ({ replicas, database }) => {
      database.set('refuse');
      await sleep(8000);
      const spooled = readdirSync(replicas[0]!.spoolDir).filter((name) => name.endsWith('.spool')).length;
      await replicas[0]!.kill();
      await sleep(2000);
      database.set('pass');
      await sleep(3000);
      await replicas[0]!.start();
      return `${spooled} spool files were on its disk`;
    },
  },
  {
    name: 'replica-paused',
    says: 'SIGSTOP of a replica for 45 s: longer than its leases, its transactions, and senders wait',
    run: async ({ replicas }) => {
      replicas[0]!.pause();
      await sleep(45_000);
      replicas[0]!.resume();
    },
  },
  {
    name: 'writer-paused',
    says: "SIGSTOP of a replica for 45 s in the midst of a transaction, while it holds its cluster's lock",
    run: async (world) => {
      const [replica] = world.replicas as [Replica];
      for (let attempt = 0; attempt < 200; attempt++) {
        replica.pause();
        await sleep(200);
        if (await someoneHolds(world, 200)) {
          await sleep(45_000);
          replica.resume();
          return `it was paused in a transaction at attempt ${attempt + 1}`;
        }
        replica.resume();
        await sleep(20 + Math.random() * 100);
      }
      throw new Error('it was never in the midst of a transaction');
    },
  },
  {
    name: 's3-killed',
    says: 'kill -9 of the S3 server; back after 5 s',
    run: async ({ s3 }) => {
      await s3.killAndRestart(5000);
      s3.write(100);
      await sleep(3000);
    },
  },
  {
    name: 's3-paused',
    says: 'SIGSTOP of the S3 server for 20 s',
    run: async ({ s3 }) => {
      const resume = s3.pause();
      await sleep(20_000);
      resume();
    },
  },
  {
    name: 's3-unreachable',
    says: 'connections to the S3 server are reset and refused for 15 s',
    run: async ({ s3 }) => {
      s3.proxy.set('refuse');
      await sleep(15_000);
      s3.proxy.set('pass');
    },
  },
  {
    name: 'leader-killed',
    says: 'kill -9 of the process that leads the jobs',
    leaders: true,
    run: async (world) => {
      const { leader } = await nextLeader(world, world.replicas);
      await leader.kill();
      const next = await nextLeader(world, world.replicas);
      await leader.start();
      return `${next.leader.name} led ${next.seconds} s after ${leader.name} was killed`;
    },
  },
  {
    name: 'leader-paused',
    says: 'SIGSTOP of the process that leads the jobs, until another leads',
    leaders: true,
    run: async (world) => {
      const { leader } = await nextLeader(world, world.replicas);
      leader.pause();
      try {
        const others = world.replicas.filter((replica) => replica !== leader);
        const next = await nextLeader(world, others);
        return `${next.leader.name} led ${next.seconds} s after ${leader.name} was paused`;
      } finally {
        leader.resume();
      }
    },
  },
  {
    name: 'rolling-restart',
    says: 'SIGTERM and start of each replica in turn, as an upgrade does it',
    run: async ({ replicas }) => {
      const ends: string[] = [];
      for (const replica of replicas) {
        const began = performance.now();
        await replica.stop();
        ends.push(((performance.now() - began) / 1000).toFixed(1));
        await replica.start();
      }
      return `they ended within ${ends.join(', ')} s`;
    },
  },
  {
    name: 'clocks-skewed',
    says: 'one replica two hours ahead, another two hours behind, for 20 s',
    run: (world) => skewed(world, ['+2h', '-2h'], 20),
  },
  {
    name: 'spool-disk-full',
    says: "Postgres is away, and a replica's spool finds no room for 15 s",
    disks: true,
    run: async ({ database, replicas }) => {
      const empty = await fill(replicas[0]!.spoolDir);
      database.set('refuse');
      await sleep(15_000);
      const files = readdirSync(replicas[0]!.spoolDir).length;
      await empty();
      await sleep(3000);
      database.set('pass');
      return `${files} files in the full spool`;
    },
  },
  {
    name: 'postgres-disk-full',
    says: "Postgres' disk is full for 20 s",
    disks: true,
    run: async ({ databaseDisk }) => {
      const empty = await fill(databaseDisk);
      await sleep(20_000);
      await empty();
    },
  },
];
