import { setTimeout as sleep } from 'node:timers/promises';
import { fitLine } from '../fit-line.js';
import { MINUTES, plotSvg } from '../plot.js';
import type { World } from './world.js';

const SAMPLE_MS = 5000;
/** By then caches are full: what memory does later is what it goes on doing. */
const SETTLED_MINUTES = 15;

/** A replica's memory, minute by minute, in MB: means of what was sampled, since it goes up and down with V8's collections. */
interface Taken {
  name: string;
  minutes: number[];
}

export interface Watched {
  taken: Taken[];
  /** The name of what ran the jobs at the end. */
  leader: string | undefined;
}

/** Watches the memory of each process for so many minutes, while the load runs, with a line every minute. */
export async function watchMemory(
  world: World,
  minutes: number,
  say: (text: string) => void,
): Promise<Watched> {
  const taken = world.replicas.map(({ name }): Taken => ({ name, minutes: [] }));
  const began = Date.now();
  for (let minute = 1; minute <= minutes; minute++) {
    const samples = world.replicas.map((): number[] => []);
    for (let at = began + (minute - 1) * 60_000; at < began + minute * 60_000; at += SAMPLE_MS) {
      await sleep(Math.max(0, at + SAMPLE_MS - Date.now()));
      for (const [i, replica] of world.replicas.entries()) samples[i]!.push(replica.sample());
    }
    const said = taken.map((one, i) => {
      const mean = samples[i]!.reduce((sum, value) => sum + value, 0) / samples[i]!.length;
      one.minutes.push(mean);
      return `${one.name} ${mean.toFixed(0)} MB`;
    });
    const { acknowledged, longestMs } = world.load.counts;
    say(
      `minute ${String(minute).padStart(3)}  ${acknowledged} acknowledged, longest ack ${(longestMs / 1000).toFixed(1)} s; ${said.join(', ')}`,
    );
  }
  return { taken, leader: await leaderOf(world) };
}

async function leaderOf(world: World): Promise<string | undefined> {
  for (const replica of world.replicas)
    if ((await replica.metric('whochanged_jobs_leader', world.adminToken)) === 1) return replica.name;
  return undefined;
}

/** How fast each process' memory rises once its caches are full, by a linear fit, in words. */
export function trendsOf({ taken, leader }: Watched): string[] {
  return taken.flatMap(({ name, minutes }) => {
    const later = minutes.slice(SETTLED_MINUTES);
    if (later.length < 3) return [];
    const { slope, standardError } = fitLine(later);
    const span = `${Math.min(...later).toFixed(0)} to ${Math.max(...later).toFixed(0)} MB`;
    return [
      `${name}${name === leader ? ' (leads)' : ''}: ${slope.toFixed(2)} ± ${standardError.toFixed(2)} MB a minute after minute ${SETTLED_MINUTES}, ${span}`,
    ];
  });
}

export function pictureOf({ taken, leader }: Watched): string {
  const lines = taken.map(({ name, minutes }) => ({
    name: name === leader ? `${name} (leads)` : name,
    values: minutes,
  }));
  const places = taken[0]!.minutes.map((_, i) => i + 1);
  return plotSvg(places, [{ title: 'Memory of each process, MB', lines }], MINUTES);
}
