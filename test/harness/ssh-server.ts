import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort } from './free-port.js';

/** Where Debian's openssh-server puts it: sshd wants to be started by its whole path. */
const SSHD = '/usr/sbin/sshd';
export const hasSshServer = existsSync(SSHD);

export interface SshServer {
  /** `ssh://USER@127.0.0.1:PORT`, to put a repository's path behind. */
  url: string;
  port: number;
  /** Type and key, as in a known hosts file. */
  hostKey: string;
  /** Of a key that may log in. */
  keyFile: string;
  /** Of a key that may not. */
  strangeKeyFile: string;
  stop(): Promise<void>;
}

/** A real sshd on a free port, for the user that runs the tests and for one key. */
export async function startSshServer(): Promise<SshServer> {
  const folder = mkdtempSync(join(tmpdir(), 'whochanged-sshd-'));
  const key = (name: string) => {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(folder, name)]);
    return join(folder, name);
  };
  const [host, client, stranger] = ['host', 'client', 'stranger'].map(key) as [string, string, string];
  writeFileSync(join(folder, 'authorized'), readFileSync(`${client}.pub`));
  const port = await freePort();
  writeFileSync(
    join(folder, 'config'),
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${host}`,
      `PidFile ${join(folder, 'pid')}`,
      `AuthorizedKeysFile ${join(folder, 'authorized')}`,
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
      'StrictModes no',
      'UsePAM no',
      '',
    ].join('\n'),
  );
  // Started by root, it locks itself in there.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const child = spawn(SSHD, ['-D', '-e', '-f', join(folder, 'config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  for (let i = 0; !(await answers(port)); i++) {
    if (child.exitCode !== null || i > 300) throw new Error(`sshd did not start: ${said}`);
    await wait(50);
  }
  return {
    url: `ssh://${userInfo().username}@127.0.0.1:${port}`,
    port,
    hostKey: readFileSync(`${host}.pub`, 'utf8').split(' ').slice(0, 2).join(' '),
    keyFile: client,
    strangeKeyFile: stranger,
    stop: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill()) await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
      .once('connect', () => {
        socket.destroy();
        resolve(true);
      })
      .once('error', () => resolve(false));
  });
}
