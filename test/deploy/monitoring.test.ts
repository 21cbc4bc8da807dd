import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Metric, Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { readConfig } from '../../main/config.js';
import { createLogger } from '../../main/log.js';
import { start } from '../../main/start.js';
import { createTestDatabase } from '../harness/database.js';
import { keptLabels, selectorsOf } from './promql.js';

const FILES = join(import.meta.dirname, '../../deploy/helm/whochanged/files');
/** Labels that Prometheus gives what it scrapes; of a metric that has one itself, its own becomes `exported_job`. */
const SCRAPED = ['job', 'instance', 'namespace', 'pod', 'service'];

/** The names that /metrics tells, of all roles together, with their labels. */
const exported = new Map<string, readonly string[]>();

beforeAll(async () => {
  const labels = new Map<string, readonly string[]>();
  const register = Registry.prototype.registerMetric;
  const spy = vi.spyOn(Registry.prototype, 'registerMetric').mockImplementation(function (
    this: Registry,
    metric: Metric,
  ) {
    const { name, labelNames } = metric as unknown as { name: string; labelNames: readonly string[] };
    labels.set(name, labelNames);
    register.call(this, metric);
  });
  const database = await createTestDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-monitoring-'));
  const alerts = join(import.meta.dirname, '../../deploy/alerts.example.yaml');
  const reports = join(folder, 'reports.yaml');
  const to = 's3://reports/?region=local&endpoint=http://127.0.0.1:9';
  const delivery = { name: 'quarterly', control: 'soc2-cc8.1', every: 'quarter', formats: ['json'], to };
  await writeFile(reports, JSON.stringify({ deliveries: [delivery] }));
  const config = readConfig({
    WHOCHANGED_DATA_DIR: folder,
    DATABASE_URL: database.url,
    WHOCHANGED_HTTP_PORT: '0',
    WHOCHANGED_HTTPS_PORT: '0',
    WHOCHANGED_HTTPS_HOST: '127.0.0.1',
    WHOCHANGED_ALERTS_FILE: alerts,
    WHOCHANGED_REPORTS_FILE: reports,
    // Nothing is archived, copied or delivered by then, so nobody need answer there.
    WHOCHANGED_ARCHIVE_URL: 's3://archive/?region=local&endpoint=http://127.0.0.1:9',
    WHOCHANGED_CHECKPOINTS_URL: 's3://checkpoints/?region=local&endpoint=http://127.0.0.1:9',
  });
  const system = await start(config, createLogger('silent'), () => undefined);
  try {
    const authorization = `Bearer ${(await readFile(join(folder, 'admin-token'), 'utf8')).trim()}`;
    const answer = await fetch(`${system.urls.http}/metrics`, { headers: { authorization } });
    for (const [, name, type] of (await answer.text()).matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
      const own = labels.get(name!) ?? [];
      if (type !== 'histogram') exported.set(name!, own);
      else {
        exported.set(`${name}_bucket`, [...own, 'le']);
        for (const part of ['sum', 'count']) exported.set(`${name}_${part}`, own);
      }
    }
  } finally {
    await system.stop();
    spy.mockRestore();
    await rm(folder, { recursive: true, force: true });
    await database.drop();
  }
});
afterAll(() => exported.clear());

/** What a query asks for that isn't exported: metrics, and labels that no series of theirs can have. */
function missing(query: string): string[] {
  return selectorsOf(query).flatMap(({ metric, labels }) => {
    const own = exported.get(metric);
    if (own === undefined) return [metric];
    const known = own.map((label) => (SCRAPED.includes(label) ? `exported_${label}` : label));
    return labels
      .filter((label) => !known.includes(label) && !SCRAPED.includes(label))
      .map((label) => `${metric}{${label}}`);
  });
}

it('finds what is missing', () => {
  expect(missing('sum by (source) (rate(whochanged_ingest_events_total{result="x"}[5m]))')).toEqual([]);
  expect(missing('max by (cause) (whochanged_no_such_metric)')).toEqual(['whochanged_no_such_metric']);
  expect(missing('sum by (cause) (whochanged_spool_bytes{source="x"}) > 0')).toEqual([
    'whochanged_spool_bytes{source}',
    'whochanged_spool_bytes{cause}',
  ]);
  expect(() => missing('sum by (le (whochanged_spool_bytes)')).toThrow('not PromQL');
});

describe('alerts', () => {
  const { groups } = parse(readFileSync(join(FILES, 'alerts.yaml'), 'utf8')) as {
    groups: Array<{
      rules: Array<{
        alert: string;
        expr: string;
        for?: string;
        labels: Record<string, string>;
        annotations: Record<string, string>;
      }>;
    }>;
  };
  const rules = groups.flatMap((group) => group.rules);

  it.each(rules)('$alert asks for metrics that there are, and says what it means', (rule) => {
    expect(missing(rule.expr)).toEqual([]);
    expect(selectorsOf(rule.expr).length).toBeGreaterThan(0);
    expect(rule.annotations).toEqual({ summary: expect.any(String), description: expect.any(String) });
    expect(rule.labels.severity).toMatch(/^(warning|critical)$/);
    expect(rule.for ?? '1m').toMatch(/^\d+[smh]$/);
    const kept = keptLabels(rule.expr) ?? [...exported.get(selectorsOf(rule.expr)[0]!.metric)!, ...SCRAPED];
    for (const [, label] of JSON.stringify(rule.annotations).matchAll(/\$labels\.(\w+)/g))
      expect(kept).toContain(label);
  });
});

describe('the dashboard', () => {
  const { panels } = JSON.parse(readFileSync(join(FILES, 'dashboard.json'), 'utf8')) as {
    panels: Array<{ id: number; title: string; targets: Array<{ expr: string; legendFormat?: string }> }>;
  };

  it.each(panels)('$title asks for metrics that there are', ({ targets }) => {
    expect(targets.length).toBeGreaterThan(0);
    for (const { expr, legendFormat } of targets) {
      expect(missing(expr)).toEqual([]);
      const kept = keptLabels(expr) ?? SCRAPED;
      for (const [, label] of (legendFormat ?? '').matchAll(/\{\{(\w+)\}\}/g)) expect(kept).toContain(label);
    }
  });

  it('gives each panel a number of its own', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  });
});
