import { execFileSync } from 'node:child_process';
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChartReading, SourceReading } from '../../../core/links/source-reading.js';
import { GitObjects } from '../../../jobs/git/objects.js';
import { Manifests } from '../../../jobs/git/render.js';
import { RenderPrograms } from '../../../jobs/git/render-programs.js';
import { decodeContent } from '../../../store/body-encoding.js';
import { createTestDatabase, type TestDatabase } from '../../harness/database.js';
import { TestRepo } from '../../harness/git-repo.js';
import { HELM } from '../../harness/helm-chart.js';

const configMap = (name: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\ndata: {a: "1"}\n`;

const CHART_TEMPLATE = `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-web, namespace: {{ .Release.Namespace }}}
data: {size: {{ .Values.size | quote }}, note: {{ .Values.note | quote }}}
`;

let repo: TestRepo;
let gitDir: string;
let sha: string;
let objects: GitObjects;
beforeAll(() => {
  repo = new TestRepo();
  symlinkSync('/etc/passwd', join(repo.folder, 'link.yaml'));
  sha = repo.commit({
    files: {
      'plain/a.yaml': `${configMap('a')}---\n${configMap('b')}---\n# nothing\n`,
      'plain/values.json': '{"replicas": 2}',
      'plain/list.yaml': `apiVersion: v1\nkind: List\nitems:\n  - {apiVersion: v1, kind: Secret, metadata: {name: s}}\n`,
      'plain/deeper/c.yaml': configMap('c'),
      'broken/x.yaml': 'a: [1\n',
      'chart/Chart.yaml': 'apiVersion: v2\nname: web\nversion: 1.0.0\n',
      'chart/values.yaml': 'size: 1\nnote: none\n',
      'chart/production.yaml': 'size: 3\n',
      'values/more.yaml': 'note: more\n',
      'chart/templates/a.yaml': CHART_TEMPLATE,
      'chart/crds/crd.yaml':
        'apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: as.example.com}\n',
      // Were it read, helm would ask that address for the rest of it.
      'chart/values.schema.json': '{"$ref": "http://127.0.0.1:9/schema.json"}',
      'chart-failing/Chart.yaml': 'apiVersion: v2\nname: web\nversion: 1.0.0\n',
      'chart-failing/values.yaml': 'why: hunter2 is no good password\n',
      'chart-failing/templates/a.yaml': '{{ fail .Values.why }}\n',
      'chart-needing/Chart.yaml':
        'apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.0.0, repository: "https://charts.example.com"}]\n',
      'chart-needing/templates/a.yaml': configMap('a'),
      'chart-endless/Chart.yaml': 'apiVersion: v2\nname: web\nversion: 1.0.0\n',
      'chart-endless/templates/a.yaml': '{{ forever }}\n',
      'chart-flooding/Chart.yaml': 'apiVersion: v2\nname: web\nversion: 1.0.0\n',
      'chart-flooding/templates/a.yaml': '# {{ flood }}\n',
      'parametrised/a.yaml': configMap('a'),
      'parametrised/.argocd-source-web.yaml': 'kustomize: {images: ["web:9"]}\n',
      'base/kustomization.yaml': 'resources: [a.yaml]\n',
      'base/a.yaml': configMap('a'),
      'overlay/kustomization.yaml': 'resources: [../base]\nnamePrefix: prod-\nnamespace: shop\n',
      'remote/kustomization.yaml': 'resources: ["https://example.com/a.yaml"]\n',
      'remote-patch/kustomization.yaml':
        'resources: [../base]\npatches: [{path: "https://example.com/p.yaml"}]\n',
      'remote-base/kustomization.yaml': 'resources: [../remote]\n',
      'hosted/kustomization.yaml': 'resources: ["github.com/acme/base?ref=main"]\n',
      'outside/kustomization.yaml': 'resources: [../../../../etc/passwd]\n',
      'linked/kustomization.yaml': 'resources: [../link.yaml]\n',
      'plugins/kustomization.yaml': 'resources: [../base]\ngenerators: [x.yaml]\n',
    },
  });
  // As mirrors are.
  gitDir = `${repo.folder}.git`;
  repo.git('clone', '--quiet', '--bare', repo.folder, gitDir);
  objects = new GitObjects(gitDir);
});
afterAll(() => {
  objects.close();
  rmSync(gitDir, { recursive: true });
  repo.remove();
});

const REDACTION = {
  manifest: (manifest: object) => manifest as never,
  text: (text: string) => text,
  id: undefined,
};

const render = (path: string, reading: SourceReading = { recurse: true }, programs = new RenderPrograms()) =>
  new Manifests(REDACTION, programs).of(objects, { repoID: 1, folder: gitDir }, sha, path, reading);

const names = async (path: string, recurse = true) => {
  const { manifests, unknown } = await render(path, { recurse });
  return manifests?.map(({ kind, metadata }) => `${kind} ${(metadata as { name: string }).name}`) ?? unknown;
};

describe('plain manifests', () => {
  it('are those of a folder, and of the folders below it where its engine takes those', async () => {
    expect(await names('plain', false)).toEqual(['ConfigMap a', 'ConfigMap b', 'Secret s']);
    expect(await names('plain')).toEqual(['ConfigMap a', 'ConfigMap b', 'ConfigMap c', 'Secret s']);
    expect(await names('plain/deeper/c.yaml', false)).toEqual(['ConfigMap c']);
  });

  it('are not known where one can’t be read, or a tool would make something else of them', async () => {
    expect(await names('broken')).toBe('broken/x.yaml is no YAML or JSON that could be read');
    expect(await names('chart')).toBe('chart is a chart, and nothing tells with what values it is rendered');
    expect(await names('parametrised')).toBe('parametrised has a file of Argo CD that overrides the others');
    expect(await names('')).toBe('a folder below it is a kustomization or a chart');
  });
});

const hasKustomize = ['kustomize', 'kubectl'].some((program) => {
  try {
    execFileSync(program, program === 'kubectl' ? ['version', '--client'] : ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});

describe.runIf(hasKustomize)('a kustomization', () => {
  it('is built with what it takes in from beside it', async () => {
    const built = await render('overlay');
    expect(built).toMatchObject({
      renderer: expect.stringMatching(/^kustomize \(k\w+ v\d/),
      manifests: [{ kind: 'ConfigMap', metadata: { name: 'prod-a', namespace: 'shop' } }],
    });
  });

  it.each([
    ['remote', /names https:\/\/example.com\/a.yaml, which is not in the repository/],
    ['remote-patch', /names https:\/\/example.com\/p.yaml/],
    ['remote-base', /names https:\/\/example.com\/a.yaml/],
    ['hosted', /takes in github.com\/acme\/base\?ref=main, which is not in the repository/],
    ['outside', /takes in .*etc\/passwd, which is not in the repository/],
    ['plugins', /has generators: that is not built here/],
  ])(
    'is not built where it would fetch, or read or run what is not the repository’s: %s',
    async (path, why) => {
      expect(await names(path)).toMatch(why);
    },
  );

  it('reads no file that a link of the repository leads to', async () => {
    const { unknown } = await render('linked');
    expect(unknown).toMatch(/could not build it/);
    expect(unknown).not.toContain('root:');
  });
});

const STAND_IN = join(import.meta.dirname, '../../harness/stand-in-helm.mjs');

const SHOP: ChartReading = { release: 'shop', namespace: 'shop', valueFiles: [], includeCrds: false };

/** The stand-in, and the real one where a helm is named: they have to agree. */
const HELMS = [STAND_IN, ...(HELM === undefined ? [] : [HELM])];

describe.each(HELMS)('a chart, by %s', (helm) => {
  const limits = { timeoutMs: 1500, mostBytes: 1 << 16 };
  const rendered = (
    path: string,
    more: Partial<ChartReading> = {},
    programs = new RenderPrograms({ helm }),
  ) => render(path, { recurse: false, chart: { ...SHOP, ...more } }, programs);
  const configMapOf = (size: string, note: string) => ({
    kind: 'ConfigMap',
    metadata: { name: 'shop-web', namespace: 'shop' },
    data: { size, note },
  });

  it('is rendered for its release, with its values and those that the source names', async () => {
    expect(await rendered('chart')).toMatchObject({
      renderer: expect.stringMatching(/^helm v\d/),
      manifests: [configMapOf('1', 'none')],
    });
    const valueFiles = ['production.yaml', '/values/more.yaml'];
    expect(
      await rendered('chart', { valueFiles, kubeVersion: '1.30.0', apiVersions: ['example.com/v1'] }),
    ).toMatchObject({
      manifests: [configMapOf('3', 'more')],
    });
    expect(await rendered('chart', { values: { size: 5 }, includeCrds: true })).toMatchObject({
      manifests: [{ kind: 'CustomResourceDefinition' }, configMapOf('5', 'none')],
    });
  });

  it.each<[string, string, Partial<ChartReading>, RegExp]>([
    [
      'values that aren’t there',
      'chart',
      { valueFiles: ['staging.yaml'] },
      /values staging.yaml are not in the repository/,
    ],
    [
      'values beside the repository',
      'chart',
      { valueFiles: ['../../../../etc/passwd'] },
      /are not in the repository/,
    ],
    [
      'values of elsewhere',
      'chart',
      { valueFiles: ['https://example.com/values.yaml'] },
      /are not in the repository/,
    ],
    ['a name that is a flag', 'chart', { release: '--post-renderer=/bin/sh' }, /is no name for a release/],
    ['a version that is a flag', 'chart', { kubeVersion: '--validate' }, /"--validate" is no version/],
    ['charts that it would fetch', 'chart-needing', {}, /depends on is not in its folder charts: redis/],
  ])('is not rendered with %s', async (_what, path, more, why) => {
    expect((await rendered(path, more)).unknown).toMatch(why);
  });

  it('tells where it fails, and nothing of what it read', async () => {
    const { unknown } = await rendered('chart-failing');
    expect(unknown).toMatch(/^helm could not render it: it failed at .*templates\/a.yaml:1:3$/);
    expect(unknown).not.toContain('hunter2');
    expect(unknown).not.toContain(dirname(gitDir));
  });

  it.runIf(helm === STAND_IN)('is given up where it takes too long or makes too much', async () => {
    const bounded = () => new RenderPrograms({ helm }, limits);
    expect((await rendered('chart-endless', {}, bounded())).unknown).toBe(
      'helm could not render it: it took longer than 1.5 s',
    );
    expect((await rendered('chart-flooding', {}, bounded())).unknown).toBe(
      'helm could not render it: it answered more than 0.0625 MiB',
    );
  });
});

describe('what a program made', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  }, 60_000);
  afterAll(() => database.drop());

  it('is kept without its secrets, and not made again while they are taken out in the same way', async () => {
    const broken = `${gitDir}-helm`;
    writeFileSync(
      broken,
      '#!/bin/sh\ncase "$1 $2" in "version --short") echo v3.99.0+gstandin;; "template --help") echo --skip-schema-validation;; *) exit 1;; esac\n',
      { mode: 0o700 },
    );
    const reading = { recurse: false, chart: { ...SHOP, values: { note: 'hunter2' } } };
    const made = (helm: string, id: string) =>
      new Manifests(
        { ...REDACTION, id, manifest: (manifest) => ({ ...manifest, data: { note: '[redacted]' } }) },
        new RenderPrograms({ helm }),
        database.pool,
      ).of(objects, { repoID: 1, folder: gitDir }, sha, 'chart', reading);
    try {
      const first = await made(STAND_IN, 'v1');
      expect(first).toMatchObject({
        renderer: 'helm v3.99.0',
        manifests: [{ data: { note: '[redacted]' } }],
      });
      expect(await made(broken, 'v1')).toEqual(first);
      expect((await made(broken, 'v2')).unknown).toMatch(/helm could not render it/);
      const { rows } = await database.pool.query('select encoding, manifests from renderings');
      expect(rows).toHaveLength(1);
      const kept = String(await decodeContent(rows[0].encoding, rows[0].manifests));
      expect(kept).toContain('[redacted]');
      expect(kept).not.toContain('hunter2');
    } finally {
      rmSync(broken);
    }
  });
});

it('is not rendered where there is no helm', async () => {
  const programs = new RenderPrograms({ helm: '/nowhere/helm' });
  const reading = {
    recurse: false,
    chart: { release: 'web', namespace: 'web', valueFiles: [], includeCrds: true },
  };
  expect((await render('chart', reading, programs)).unknown).toBe(
    'chart is a chart, and there is no helm to render it',
  );
});

it('makes something else of files where settings of the application say so', async () => {
  expect((await render('plain', { recurse: true, settings: ['postBuild'] })).unknown).toBe(
    'postBuild of its application make something else of the files',
  );
});
