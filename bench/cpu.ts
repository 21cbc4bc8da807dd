import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** USER_HZ, which Linux has fixed for what it shows in /proc. */
const TICKS = 100;

/** Ticks that a process or thread has used; `withEnded`: and its children that have ended. */
function ticksOf(stat: string, withEnded = false): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const own = Number(fields[11]) + Number(fields[12]);
  return withEnded ? own + Number(fields[13]) + Number(fields[14]) : own;
}

/** Seconds of CPU that a process's main thread and its others have used, and those of a Postgres's backends. */
export interface CpuSeconds {
  main: number;
  threads: number;
  postgres: number;
}

/** Reads /proc: what a run costs, however busy the machine is with other things. `folder` holds the embedded Postgres. */
export function readCpu(pid: number, folder: string): CpuSeconds {
  const cpu: CpuSeconds = { main: 0, threads: 0, postgres: 0 };
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const seconds = ticksOf(readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')) / TICKS;
    if (Number(task) === pid) cpu.main += seconds;
    else cpu.threads += seconds;
  }
  const postmaster = readFileSync(join(folder, 'postgres/pgdata/postmaster.pid'), 'utf8').split('\n')[0]!;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
      if (entry === postmaster || parent === postmaster)
        cpu.postgres += ticksOf(stat, entry === postmaster) / TICKS;
    } catch {
      // It has ended meanwhile.
    }
  }
  return cpu;
}

/** What an event costs while something runs. */
export interface Cost {
  /** In words, by where it was spent. */
  cost: string;
  /** Of all of them together, microseconds of CPU an event. */
  micros: number;
}

/** Runs something and tells the CPU that each of its events took of the process and its embedded Postgres. */
export async function costing<T extends { events: number }>(
  pid: number,
  folder: string,
  run: () => Promise<T>,
): Promise<T & Cost> {
  const before = readCpu(pid, folder);
  const result = await run();
  const after = readCpu(pid, folder);
  const micros = (what: keyof CpuSeconds) => ((after[what] - before[what]) / result.events) * 1e6;
  const [main, threads, postgres] = [micros('main'), micros('threads'), micros('postgres')];
  return {
    ...result,
    cost: `CPU ${main.toFixed(0)} us an event in the main thread, ${threads.toFixed(0)} in others, ${postgres.toFixed(0)} in Postgres`,
    micros: main + threads + postgres,
  };
}
