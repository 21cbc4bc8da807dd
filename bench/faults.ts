import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { FAULTS, type Fault } from './faults/faults.js';
import { APISERVER_PATIENCE_MS } from './faults/load.js';
import { recovery } from './faults/recovery.js';
import { pictureOf, trendsOf, type Watched, watchMemory } from './faults/soak.js';
import { judge } from './faults/truth.js';
import { startWorld, type World } from './faults/world.js';

/**
 * `npm run bench:faults -- [faults] [--replicas 1|2|4] [--rate N] [--disks] [--soak MINUTES]`
 * Takes Postgres, the bucket and whochanged's own processes away while a bounded load is posted and written to the bucket,
 * and compares the ledger with what was generated after each fault: none lost, none twice. All faults if none is named
 * (names with commas). `--disks`: small disks of their own, which can be filled; needs root. `--soak`: no fault, but the
 * load for so many minutes, with each process' memory every minute and its trend, drawn into docs/soak.svg. Ends with 1 where anything was wrong.
 */
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    replicas: { type: 'string', default: '2' },
    rate: { type: 'string', default: '300' },
    disks: { type: 'boolean', default: false },
    soak: { type: 'string' },
  },
});
/** Events a second that are posted; a third as many besides go into the bucket. */
const rate = Number(flags.rate);
/** Events in a post: an apiserver that isn't busy sends a few a second. */
const BATCH = 100;
const WARM_UP_MS = 5000;
const AFTERMATH_MS = 5000;
/** What a process may take, in MB (docs/operations.md). */
const MEMORY_BOUND = 800;
const PICTURE = join(import.meta.dirname, '../docs/soak.svg');
const problems: string[] = [];

async function underLoad(world: World, run: () => Promise<string> | Promise<void>): Promise<string> {
  world.load.start(rate, BATCH);
  world.s3.write(rate / 3);
  try {
    await sleep(WARM_UP_MS);
    const said = await run();
    await sleep(AFTERMATH_MS);
    return said ?? '';
  } finally {
    await world.s3.quiet();
    await world.load.stop();
  }
}

/** Compares, and prints a line. */
async function settle(world: World, name: string, says: string): Promise<void> {
  const { seconds, left } = await recovery(world);
  const posted = await judge(world.pool, world.traffic, 'default', world.load.sessions);
  const read = await judge(world.pool, world.traffic, 'bucket', world.s3.sessions);
  const { counts } = world.load;
  const peak = Math.max(...world.replicas.map((replica) => replica.peak));
  const wrong = [
    ...left,
    ...(['lost', 'twice', 'strange'] as const).flatMap((what) =>
      posted[what] + read[what] > 0
        ? [`${posted[what]} posted and ${read[what]} read events are ${what}`]
        : [],
    ),
    ...(posted.quarantined > 0 ? [`${posted.quarantined} were quarantined`] : []),
    ...(peak > MEMORY_BOUND ? [`a process took ${peak.toFixed(0)} MB`] : []),
  ];
  problems.push(...wrong.map((problem) => `${name}: ${problem}`));
  console.log(
    [
      name.padEnd(24),
      `${posted.generated}+${read.generated} events so far`.padEnd(28),
      `lost ${posted.lost + read.lost}, twice ${posted.twice + read.twice}`.padEnd(20),
      `longest ack ${(counts.longestMs / 1000).toFixed(1)} s`.padEnd(20),
      `${counts.refused} refused, ${counts.unanswered} unanswered`.padEnd(28),
      `caught up in ${seconds.toFixed(1)} s`.padEnd(22),
      `peak ${peak.toFixed(0)} MB`,
      ...(counts.beyondPatience > 0
        ? [`; ${counts.beyondPatience} batches waited longer than ${APISERVER_PATIENCE_MS / 1000} s`]
        : []),
      ...(says === '' ? [] : [`; ${says}`]),
      ...(wrong.length > 0 ? [`; WRONG: ${wrong.join('; ')}`] : []),
    ].join(' '),
  );
}

/** The load alone, with a line every minute, and in the end a picture and what memory did after the first quarter of an hour. */
async function soak(world: World, minutes: number): Promise<void> {
  let watched: Watched | undefined;
  await underLoad(world, async () => {
    watched = await watchMemory(world, minutes, (text) => console.log(text));
  });
  await settle(world, 'soak', '');
  for (const line of trendsOf(watched!)) console.log(line);
  await writeFile(PICTURE, pictureOf(watched!));
}

function chosen(): Fault[] {
  const names = positionals.flatMap((text) => text.split(','));
  for (const name of names)
    if (!FAULTS.some((fault) => fault.name === name))
      throw new Error(`there is no fault "${name}"; they are ${FAULTS.map((one) => one.name).join(', ')}`);
  return FAULTS.filter((fault) =>
    names.length === 0 ? !fault.disks || flags.disks : names.includes(fault.name),
  );
}

const faults = chosen();
const world = await startWorld({ replicas: Number(flags.replicas), smallDisks: flags.disks });
try {
  console.log(
    `${world.replicas.length} replicas (${world.replicas.map(({ roles }) => roles.join('+')).join(', ')}), ${rate} events/s posted, ${Math.round(rate / 3)} events/s into the bucket`,
  );
  if (flags.soak !== undefined) await soak(world, Number(flags.soak));
  else
    for (const fault of faults) {
      const leaders = world.replicas.filter(({ roles }) => roles.includes('jobs')).length;
      if ((fault.leaders && leaders < 2) || (fault.disks && !flags.disks)) {
        console.log(
          `${fault.name.padEnd(24)} left out: it needs ${fault.disks ? '--disks' : 'more replicas'}`,
        );
        continue;
      }
      console.log(`# ${fault.says}`);
      try {
        const said = await underLoad(world, () => fault.run(world));
        await settle(world, fault.name, said);
      } catch (error) {
        problems.push(`${fault.name}: ${(error as Error).message}`);
        console.log(`${fault.name.padEnd(24)} FAILED: ${(error as Error).message}`);
        break;
      }
    }
} finally {
  if (problems.length > 0)
    for (const replica of world.replicas) console.error(`--- ${replica.name}\n${replica.log.slice(-4000)}`);
  await world.stop();
}
if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exitCode = 1;
}
