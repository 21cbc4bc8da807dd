import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GitObjects } from '../../../jobs/git/objects.js';
import { Manifests } from '../../../jobs/git/render.js';
import { TestRepo } from '../../harness/git-repo.js';

const configMap = (name: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\ndata: {a: "1"}\n`;

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
      'chart/Chart.yaml': 'name: web\n',
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
  gitDir = join(repo.folder, '.git');
  objects = new GitObjects(gitDir);
});
afterAll(() => {
  objects.close();
  repo.remove();
});

const render = (path: string, recurse = true) =>
  new Manifests((manifest) => manifest).of(objects, gitDir, sha, path, recurse);

const names = async (path: string, recurse = true) => {
  const { manifests, unknown } = await render(path, recurse);
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
    expect(await names('chart')).toBe('chart is a chart: those are not rendered');
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
