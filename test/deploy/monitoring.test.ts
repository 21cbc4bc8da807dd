import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const ROOT = join(import.meta.dirname, '../..');
const FILES = join(ROOT, 'deploy/helm/whochanged/files');

/** Names of the metrics that the sources register. */
const registered = new Set(
  ['ingest', 'jobs', 'api', 'main', 'store'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) =>
        [...readFileSync(join(ROOT, folder, name), 'utf8').matchAll(/name: '(whochanged_\w+)'/g)].map(
          ([, metric]) => metric!,
        ),
      ),
  ),
);

function metricsIn(expression: string): string[] {
  return [...expression.matchAll(/\bwhochanged_\w+/g)].map(([name]) =>
    name.replace(/_(bucket|sum|count)$/, ''),
  );
}

describe('alerts', () => {
  const { groups } = parse(readFileSync(join(FILES, 'alerts.yaml'), 'utf8')) as {
    groups: Array<{ rules: Array<{ alert: string; expr: string; annotations: Record<string, string> }> }>;
  };
  const rules = groups.flatMap((group) => group.rules);

  it.each(rules)(
    '$alert asks for metrics that there are, and says what it means',
    ({ expr, annotations }) => {
      expect(metricsIn(expr).filter((name) => !registered.has(name))).toEqual([]);
      expect(metricsIn(expr).length).toBeGreaterThan(0);
      expect(annotations).toEqual({ summary: expect.any(String), description: expect.any(String) });
    },
  );
});

describe('the dashboard', () => {
  const { panels } = JSON.parse(readFileSync(join(FILES, 'dashboard.json'), 'utf8')) as {
    panels: Array<{ title: string; targets: Array<{ expr: string }> }>;
  };

  it.each(panels)('$title asks for metrics that there are', ({ targets }) => {
    for (const { expr } of targets)
      expect(metricsIn(expr).filter((name) => !registered.has(name))).toEqual([]);
  });
});
