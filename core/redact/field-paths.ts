/** A field of one resource that is secret whatever its name, parsed into steps; '*' stands for any key or index. */
export type FieldPath = readonly string[];

/** The field paths that may still match below the present place, each with the number of steps taken. */
export type OpenPaths = readonly { readonly path: FieldPath; readonly taken: number }[];

const STEP = /([^.[\]]+)|\[([^[\]]*)\]/y;

/**
 * Parses `spec.users[*].pin`, `spec.users[].pin` or `data[tls.pem]`: names joined by dots; brackets around a list's
 * index, a wildcard, or a key that holds dots. Returns what is wrong when it is not such a path.
 */
export function parseFieldPath(text: string): { path: FieldPath } | { problem: string } {
  const path: string[] = [];
  let at = 0;
  while (at < text.length) {
    if (text[at] === '.' && path.length > 0) at++;
    STEP.lastIndex = at;
    const step = STEP.exec(text);
    if (step === null) return { problem: `expected a name or [key] at character ${at + 1}` };
    path.push(step[1] ?? (step[2] || '*'));
    at = STEP.lastIndex;
  }
  return path.length === 0 ? { problem: 'is empty' } : { path };
}

export function resourceKey(group: string, resource: string): string {
  return `${group}/${resource}`;
}

export function openPaths(paths: readonly FieldPath[]): OpenPaths {
  return paths.map((path) => ({ path, taken: 0 }));
}

/** Takes one step down; `secret` says that a path ends here. */
export function descend(open: OpenPaths, key: string): { secret: boolean; open: OpenPaths | undefined } {
  let secret = false;
  const still: { path: FieldPath; taken: number }[] = [];
  for (const { path, taken } of open) {
    const step = path[taken];
    if (step !== key && step !== '*') continue;
    if (taken + 1 === path.length) secret = true;
    else still.push({ path, taken: taken + 1 });
  }
  return { secret, open: still.length === 0 ? undefined : still };
}
