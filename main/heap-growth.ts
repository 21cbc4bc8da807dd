import { setFlagsFromString } from 'node:v8';

let current: number | undefined;

/**
 * How far V8 lets its heap grow beyond what was alive when it last looked for garbage, in percent; 0: as it likes, which
 * on a machine with much memory is to several times that. Events live for as long as a commit takes, too long for the
 * cheap collections of young garbage: what is left of them would be most of the process' memory. The less it may grow,
 * the more CPU goes into looking.
 */
export function boundHeapGrowth(percent: number): void {
  if (percent === current) return;
  current = percent;
  // Read anew at each collection, of all threads: V8 takes it at any time.
  setFlagsFromString(`--heap-growing-percent=${percent}`);
}
