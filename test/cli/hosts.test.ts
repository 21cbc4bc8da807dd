import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningApi, startApi } from '../harness/running-api.js';

const sha = (digit: string) => digit.repeat(40);
let api: RunningApi;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

function file(name: string, content: string): string {
  const path = join(api.folder, name);
  writeFileSync(path, content);
  return path;
}

describe('approval import', () => {
  it('takes a CSV file, and names each line that it leaves out, and why', async () => {
    const path = file(
      'approvals.csv',
      [
        'id,repo,sha,image,approver,approvedAt,url',
        `A-1,shop,${sha('a')},,bob,2026-11-24T10:00:00Z,https://cab.example.com/1`,
        `A-2,shop,${sha('b').slice(1)},,bob,2026-11-24T10:00:00Z,`,
        `"A-3",,,registry.example.com/web@sha256:${'c'.repeat(64)},"bob@example.com",2026-11-24T10:00:00Z,`,
        `A-4,shop,${sha('d')},,bob,yesterday,`,
        `A-5\u0000,shop,${sha('e')},,bob,2026-11-24T10:00:00Z,`,
        '',
      ].join('\n'),
    );
    const first = await api.cli(['approval', 'import', path]);
    expect(first).toMatchObject({ code: 1, stdout: '2 stored, 0 known already, 3 left out\n' });
    expect(first.stderr).toContain(`${path}, line 3: sha: expected the whole SHA of a commit`);
    expect(first.stderr).toContain(`${path}, line 5: approvedAt: "yesterday" is no time`);
    expect(first.stderr).toMatch(/line 6: it can't be stored/);
    const again = await api.cli(['approval', 'import', path, '-o', 'json']);
    expect(JSON.parse(again.stdout)).toMatchObject({
      stored: 0,
      known: 2,
      problems: [{ row: 2 }, { row: 4 }, { row: 5 }],
    });
    const list = await api.cli(['approval', 'list', '-o', 'csv']);
    expect(list.stdout).toContain(sha('a'));
  });

  it('says what is wrong with a file that is none', async () => {
    expect(await api.cli(['approval', 'import', file('x.json', '[{"id": 1}')])).toMatchObject({ code: 2 });
    expect((await api.cli(['approval', 'import', '/nowhere'])).stderr).toContain(
      'cannot read /nowhere: ENOENT',
    );
    expect((await api.cli(['approval', 'import', file('y.csv', 'a,b\n"1,2\n')])).code).toBe(2);
  });
});

describe('ticket import', () => {
  it("takes an answer of ServiceNow's Table API", async () => {
    const change = {
      number: 'CHG0030001',
      type: { value: 'emergency', display_value: 'Emergency' },
      state: { value: '-1', display_value: 'Implement' },
      approval: 'approved',
      approved_by: { value: '6816f79cc0a8016401c5a33be04be441', display_value: 'Dora Doe' },
      start_date: '2026-11-24 09:00:00',
      end_date: '2026-11-24 12:00:00',
      cmdb_ci: { value: 'x', display_value: 'shop, web' },
    };
    const bad = { ...change, number: 'CHG0030002', end_date: '2026-11-24 08:00:00' };
    const path = file('changes.json', JSON.stringify({ result: [change, bad] }));
    const answer = await api.cli(['ticket', 'import', path, '--system', 'servicenow']);
    expect(answer.code).toBe(1);
    expect(answer.stderr).toContain('item 2: end_date: it is not after start_date');
    const shown = await api.cli(['ticket', 'show', 'CHG0030001', '-o', 'json']);
    expect(JSON.parse(shown.stdout).items ?? JSON.parse(shown.stdout)).toMatchObject([
      {
        kind: 'emergency',
        state: 'Implement',
        approved: true,
        approvers: [{ person: { name: 'Dora Doe' } }],
        windowStart: '2026-11-24T09:00:00.000000Z',
        configurationItems: ['shop', 'web'],
      },
    ]);
    const open = await api.cli(['ticket', 'list', '--at', '2026-11-24T10:00:00Z', '--utc']);
    expect(open.stdout).toMatch(/CHG0030001 +emergency +Implement +yes +Dora Doe/);
  });

  it("takes an export of Jira's, whose heads repeat, by a mapping of its fields", async () => {
    const path = file(
      'issues.csv',
      'Issue key,Issue Type,Status,Reporter,Approver,Approver,Start\n' +
        'OPS-17,Change,Approved,alice,bob,carol@example.com,2026-11-24T09:00:00Z\n',
    );
    const map = ['approvers=Approver', 'windowStart=Start', 'approvedStates=Approved,Done'].flatMap((one) => [
      '--map',
      one,
    ]);
    const answer = await api.cli(['ticket', 'import', path, '--system', 'jira', ...map]);
    expect(answer).toMatchObject({ code: 0, stdout: '1 stored, 0 known already, 0 left out\n' });
    const shown = await api.cli(['ticket', 'show', 'OPS-17', '-o', 'json']);
    expect(JSON.parse(shown.stdout).items ?? JSON.parse(shown.stdout)).toMatchObject([
      {
        approved: true,
        approvers: [{ person: { name: 'bob' } }, { person: { email: 'carol@example.com' } }],
      },
    ]);
    expect(
      (await api.cli(['ticket', 'import', path, '--system', 'jira', '--map', 'start=x'])).stderr,
    ).toContain('KEY is one of');
    expect((await api.cli(['ticket', 'show', 'OPS-99'])).code).toBe(4);
  });
});

describe('pr and host status', () => {
  it('show what the host told, and as of when', async () => {
    const { rows } = await api.pool.query<{ id: number }>(
      `insert into repos (name, url, host_kind, project, credential, sync_error, sync_failures)
       values ('shop', 'https://github.com/acme/shop.git', 'github', 'acme/shop', 'env:WHOCHANGED_CREDENTIAL_NONE',
               'the credential is not valid', 2) returning id`,
    );
    await api.pool.query(`insert into host_syncs (repo_id, next_at) values ($1, 'infinity')`, [rows[0]!.id]);
    await api.pool.query(
      `insert into pull_requests (repo_id, number, title, url, state, author, base_ref, head_sha, created_at, updated_at, merged_at,
                                  merge_sha, merge_method, synced_at)
       values ($1, 7, 'Change 7', 'https://github.com/acme/shop/pull/7', 'merged', '{"login":"alice"}', 'main', $2,
               '2026-11-24T09:00:00Z', '2026-11-24T11:00:00Z', '2026-11-24T11:00:00Z', $3, 'squash', now())`,
      [rows[0]!.id, sha('1'), sha('a')],
    );
    const shown = await api.cli(['pr', 'shop#7', '--utc']);
    expect(shown.stdout).toContain(`Merged:   as ${sha('a')} (squash), 2026-11-24 11:00:00`);
    const { code, stderr } = await api.cli(['pr', 'shop#8']);
    expect([code, stderr]).toEqual([4, expect.stringContaining('shop#8 is not known')]);
    const status = await api.cli(['host', 'status']);
    expect(status.stdout).toMatch(/shop +github +failing +never +0 .*the credential is not valid/);
  });
});
