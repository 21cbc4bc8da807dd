import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCli } from '../harness/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'whochanged-alerts-'));
afterAll(() => rmSync(folder, { recursive: true }));

function check(name: string, text: string, ...flags: string[]) {
  const file = join(folder, name);
  writeFileSync(file, text);
  return runCli(['alert', 'check', file, ...flags], { folder, env: {} });
}

describe('alert check', () => {
  it('takes Sigma rules, a document each, and names what one of them has that is not supported', async () => {
    const rule = (title: string, condition: string) =>
      `title: ${title}\nlogsource: {product: kubernetes, service: audit}\nlevel: high\ndetection:\n  s: {verb: delete}\n  condition: ${condition}\n`;
    const text = [rule('Deleted', 's'), rule('Counted', 's | count() > 3'), 'title: [\n'].join('---\n');
    const answer = await check('sigma.yaml', text, '-o', 'json');
    expect(answer.code).toBe(1);
    const rows = JSON.parse(answer.stdout);
    expect(rows.items ?? rows).toMatchObject([
      { name: 'Deleted', format: 'sigma', severity: 'high', problem: '' },
      { name: 'Counted', problem: 'an aggregation' },
      { name: 'document 3', problem: expect.stringMatching(/it is not YAML/) },
    ]);
  });

  it('takes Falco rules, and ends well where all can be used', async () => {
    const text = `
- macro: kget
  condition: ka.verb = get
- rule: Secret read
  condition: kget and ka.target.resource = secrets
  priority: NOTICE
  source: k8s_audit
`;
    const answer = await check('falco.yaml', text);
    expect(answer.code).toBe(0);
    expect(answer.stdout).toMatch(/Secret read +falco +notice/);
  });
});
