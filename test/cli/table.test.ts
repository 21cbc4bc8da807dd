import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runShell } from '../harness/cli.js';
import { type RunningApi, startApiWithSession } from '../harness/running-api.js';

const WEB = ['deploy/web', '-n', 'shop', '--utc'];
/** Times of the recorded session. */
const FIRST_SECONDS = ['--since', '2026-11-24T13:37:50Z', '--until', '2026-11-24T13:38:03.5Z'];
const ROLLOUT = ['--since', '2026-11-24T13:37:59Z', '--until', '2026-11-24T13:38:00Z'];
const ESCAPE = '\u001b';

let api: RunningApi;
beforeAll(async () => {
  api = await startApiWithSession();
});
afterAll(() => api.stop());

/** Columns depend on how long ago it was, so for the command it is always three hours later. */
const CLOCK = encodeURIComponent(`Date.now = () => ${Date.parse('2026-11-24T16:40:00Z')}`);
const THREE_HOURS_LATER = { NODE_OPTIONS: `--import=data:text/javascript,${CLOCK}` };

describe('who changed an object', () => {
  it('in 173 columns', async () => {
    const { code, stdout, stderr } = await api.cli([...WEB, ...FIRST_SECONDS], {
      COLUMNS: '173',
      ...THREE_HOURS_LATER,
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.split('\n');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(173);
    expect(lines[0]).toBe(
      'WHEN                 ACTOR                              VIA             DID      OBJECT                VERDICT      WHAT',
    );
    expect(lines.filter((line) => !line.startsWith(' ')).slice(1, -1)).toEqual([
      '11-24 13:38:03 (3h)  bob@example.com                    kubectl         update   shop deployments/web  out-of-band  -paused',
      '11-24 13:38:02 (3h)  bob@example.com                    kubectl         update   shop deployments/web  out-of-band  +paused=true',
      '11-24 13:38:01 (3h)  alice@example.com                  kubectl         update   shop deployments/web  out-of-band  -annotation kubectl.kubernetes.io/restartedAt; env',
      '11-24 13:38:00 (3h)  bob@example.com                    kubectl         restart  shop deployments/web  out-of-band  restarted',
      '11-24 13:38:00 (3h)  alice@example.com                  kubectl         update   shop deployments/web  out-of-band  env web/LOG_LEVEL: info → debug; env web/API_TOKEN added',
      '11-24 13:37:59 (3h)  bob@example.com                    kubectl         update   shop deployments/web  out-of-band  image web: registry.example.com/shop/web:1.0.0 →',
      '11-24 13:37:58 (3h)  system:serviceaccount:ci:deployer  session-script  scale    shop deployments/web  out-of-band  replicas: 3 → 2',
      '11-24 13:37:57 (3h)  bob@example.com                    kubectl         scale    shop deployments/web  out-of-band  replicas: 2 → 3',
      '11-24 13:37:56 (3h)  alice@example.com                  kubectl         create   shop deployments/web  out-of-band  created (registry.example.com/shop/web:1.0.0, 2 replicas)',
    ]);
    // What has no room goes on below, in its column: of a new image, the new one is what one asks for.
    const at = lines.findIndex((line) => line.includes('image web:'));
    expect(lines[at + 1]).toBe(
      `${' '.repeat(lines[at]!.indexOf('image web:'))}registry.example.com/shop/web:1.1.0`,
    );
  });

  it('in 80 columns, on two levels', async () => {
    const { stdout } = await api.cli([...WEB, ...FIRST_SECONDS], { COLUMNS: '80' });
    expect(stdout).toBe(`\
WHEN            ACTOR              DID      OBJECT                VERDICT
    WHAT
11-24 13:38:03  bob@example.com    update   shop deployments/web  out-of-band
    -paused
11-24 13:38:02  bob@example.com    update   shop deployments/web  out-of-band
    +paused=true
11-24 13:38:01  alice@example.com  update   shop deployments/web  out-of-band
    -annotation kubectl.kubernetes.io/restartedAt; env web/LOG_LEVEL: debug →
    info; env web/API_TOKEN removed (redacted)
11-24 13:38:00  bob@example.com    restart  shop deployments/web  out-of-band
    restarted
11-24 13:38:00  alice@example.com  update   shop deployments/web  out-of-band
    env web/LOG_LEVEL: info → debug; env web/API_TOKEN added (redacted)
11-24 13:37:59  bob@example.com    update   shop deployments/web  out-of-band
    image web: registry.example.com/shop/web:1.0.0 →
    registry.example.com/shop/web:1.1.0
11-24 13:37:58  …:ci:deployer      scale    shop deployments/web  out-of-band
    replicas: 3 → 2
11-24 13:37:57  bob@example.com    scale    shop deployments/web  out-of-band
    replicas: 2 → 3
11-24 13:37:56  alice@example.com  create   shop deployments/web  out-of-band
    created (registry.example.com/shop/web:1.0.0, 2 replicas)
`);
  });

  it('tells why a controller did it', async () => {
    const { stdout } = await api.cli(['-n', 'shop', '--class', 'derived', '--utc', ...ROLLOUT], {
      COLUMNS: '80',
    });
    expect(stdout).toBe(`\
WHEN            ACTOR                   DID     OBJECT                   VERDICT
    WHAT
11-24 13:37:59  …:kube-system:replicas  create  shop pods/web-           system
                et-controller                   767898c5b4-xckss
    created (registry.example.com/shop/web:1.1.0)
  └ because bob@example.com: apps/deployments shop/web image web:
    registry.example.com/shop/web:1.0.0 → registry.example.com/shop/web:1.1.0
11-24 13:37:59  …:kube-system:deployme  create  shop replicasets/web-    system
                nt-controller                   767898c5b4
    created (registry.example.com/shop/web:1.1.0, 1 replica)
  └ because bob@example.com: apps/deployments shop/web image web:
    registry.example.com/shop/web:1.0.0 → registry.example.com/shop/web:1.1.0
`);
  });

  it('shows in whose name it was done, on a line of its own where it must', async () => {
    const { stdout } = await api.cli(['access', '--utc'], { COLUMNS: '80' });
    expect(stdout).toContain(`\
11-24 13:40:18  alice@example.com as  exec          shop pods/crate  out-of-band
                bob@example.com
    exec into crate: id
`);
  });

  it('keeps a line for each change, whole, in a pipe, so that grep finds it', async () => {
    const { stdout } = await api.cli([...WEB, ...FIRST_SECONDS]);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(10);
    expect(
      lines.filter((line) => line.includes('shop/web:1.0.0 → registry.example.com/shop/web:1.1.0')),
    ).toHaveLength(1);
  });

  // What kubectl looks for on the PATH.
  const PLUGIN = `printf '#!/bin/sh\\nexec %s "$@"\\n' "$PLUGIN" > kubectl-whochanged && chmod +x kubectl-whochanged`;
  const asPlugin = (command: string) =>
    runShell(`${PLUGIN} && PATH="$PWD:$PATH" ${command} ${[...WEB, ...FIRST_SECONDS].join(' ')}`, {
      folder: api.folder,
      env: { WHOCHANGED_URL: api.http, WHOCHANGED_TOKEN: api.adminToken, COLUMNS: '80' },
    });

  it('is the answer of kubectl-whochanged too', async () => {
    const answer = await api.cli([...WEB, ...FIRST_SECONDS], { COLUMNS: '80' });
    expect(await asPlugin('kubectl-whochanged')).toEqual(answer);
  });

  const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0;
  it.runIf(hasKubectl)('is the answer of kubectl whochanged, where there is a kubectl', async () => {
    const answer = await api.cli([...WEB, ...FIRST_SECONDS], { COLUMNS: '80' });
    expect(await asPlugin('kubectl whochanged')).toEqual(answer);
  });
});

describe('colours', () => {
  // util-linux; it gives the command a terminal.
  const hasScript = spawnSync('script', ['--version']).status === 0;
  const onTerminal = async (env: Record<string, string>, columns: number) => {
    const command = `stty cols ${columns}; $CLI ${[...WEB, ...FIRST_SECONDS].join(' ')}`;
    const options = {
      folder: api.folder,
      env: {
        WHOCHANGED_URL: api.http,
        WHOCHANGED_TOKEN: api.adminToken,
        TERM: 'xterm',
        INNER: command,
        ...env,
      },
    };
    const { stdout } = await runShell('script -qec "$INNER" /dev/null < /dev/null', options);
    return stdout.replaceAll('\r\n', '\n');
  };

  it('are left out where stdout is no terminal', async () => {
    expect((await api.cli([...WEB, ...FIRST_SECONDS], { TERM: 'xterm' })).stdout).not.toContain(ESCAPE);
  });

  it.runIf(hasScript)('are used on a terminal, whose width the table takes', async () => {
    const stdout = await onTerminal({}, 80);
    expect(stdout).toContain(ESCAPE);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it begins a colour
    const plain = stdout.replace(/\u001b\[\d+m/g, '');
    expect(plain).toContain(
      '11-24 13:38:03  bob@example.com    update   shop deployments/web  out-of-band\n    -paused\n',
    );
  });

  it.runIf(hasScript)('are left out with NO_COLOR', async () => {
    const stdout = await onTerminal({ NO_COLOR: '1' }, 80);
    expect(stdout).toContain('11-24 13:38:03  bob@example.com');
    expect(stdout).not.toContain(ESCAPE);
  });
});
