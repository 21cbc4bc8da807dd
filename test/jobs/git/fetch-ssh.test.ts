import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestRepo } from '../../harness/git-repo.js';
import { hasSshServer, type SshServer, startSshServer } from '../../harness/ssh-server.js';
import { TestMirrors } from './mirrors.js';

// Runs where Debian's openssh-server is installed.
describe.skipIf(!hasSshServer)('a repository behind ssh', () => {
  let server: SshServer;
  let mirrors: TestMirrors;
  let repo: TestRepo;
  beforeAll(async () => {
    server = await startSshServer();
    mirrors = await TestMirrors.create({ protocols: ['ssh'] });
    repo = new TestRepo();
    repo.commit({ files: { 'web.yaml': 'a: 1\n' } });
  });
  afterAll(async () => {
    repo?.remove();
    await mirrors?.remove();
    await server?.stop();
  });

  it('is fetched from a host that is known, by a key that may', async () => {
    const known = (name: string, ...lines: string[]) => {
      const file = join(mirrors.folder, name);
      writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
      return file;
    };
    const place = `[127.0.0.1]:${server.port}`;
    const other = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';
    const good = known('good', `${place} ${server.hostKey}`);
    const add = (name: string, keyFile: string, hosts: string) =>
      mirrors.add(name, `${server.url}${repo.folder}`, { ssh_key_file: keyFile, known_hosts_file: hosts });
    await add('known', server.keyFile, good);
    await add('unknown-host', server.keyFile, known('none'));
    await add('changed-host', server.keyFile, known('changed', `${place} ${other}`));
    await add('strange-key', server.strangeKeyFile, good);
    expect(await mirrors.fetch()).toBe(1);

    const rows = await mirrors.rows(
      `select name, fetch_error, (select count(*)::int from commits where repo_id = id) as commits from repos`,
    );
    const found = Object.fromEntries(rows.map((row) => [row.name, row]));
    expect(found.known).toMatchObject({ fetch_error: null, commits: 1 });
    for (const name of ['unknown-host', 'changed-host'])
      expect(found[name]).toMatchObject({
        commits: 0,
        fetch_error: expect.stringContaining('the host’s key is not in the known hosts file'),
      });
    expect(found['strange-key']).toMatchObject({
      commits: 0,
      fetch_error: expect.stringContaining('the key was refused'),
    });
  });
});
