import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../core/audit-event.js';
import { readingOfArgocd, readingOfFlux, readingOfHelmRelease } from '../../../core/links/source-reading.js';

const application = { metadata: { name: 'web' }, spec: { destination: { namespace: 'shop' } } };
const settings = (source: JsonObject) => readingOfArgocd(source, application).settings;

describe('Argo CD', () => {
  it('renders a chart for the application, into its destination, unless told otherwise', () => {
    expect(readingOfArgocd({ helm: { valueFiles: ['production.yaml', '/all.yaml'] } }, application)).toEqual({
      recurse: false,
      chart: {
        release: 'web',
        namespace: 'shop',
        valueFiles: ['production.yaml', '/all.yaml'],
        includeCrds: true,
      },
    });
    const helm = {
      releaseName: 'site',
      namespace: 'sites',
      skipCrds: true,
      ignoreMissingValueFiles: true,
      kubeVersion: '1.30.0',
      apiVersions: ['example.com/v1'],
    };
    expect(readingOfArgocd({ helm, directory: { recurse: true } }, application)).toEqual({
      recurse: true,
      chart: {
        release: 'site',
        namespace: 'sites',
        valueFiles: [],
        ignoreMissing: true,
        includeCrds: false,
        kubeVersion: '1.30.0',
        apiVersions: ['example.com/v1'],
      },
    });
  });

  it('makes something else of the files by what stands in the Application', () => {
    expect(settings({ helm: { values: 'a: 1', parameters: [{ name: 'a', value: 'b' }] } })).toEqual([
      'helm.parameters',
      'helm.values',
    ]);
    expect(settings({ kustomize: { version: 'v5', images: ['web:9'], namePrefix: '' } })).toEqual([
      'kustomize.images',
    ]);
    expect(settings({ directory: { exclude: '*.test.yaml', jsonnet: {} } })).toEqual(['directory.exclude']);
    expect(settings({ plugin: { name: 'cue' } })).toEqual(['plugin']);
    for (const file of ['$values/web.yaml', 'https://example.com/values.yaml'])
      expect(settings({ helm: { valueFiles: [file] } })).toEqual(['helm.valueFiles']);
    expect(settings({ path: 'web' })).toBeUndefined();
  });
});

describe('Flux', () => {
  it('takes all below a path, and changes it by what stands in the Kustomization', () => {
    expect(readingOfFlux({ spec: { path: './web', prune: true } })).toEqual({ recurse: true });
    expect(readingOfFlux({ spec: { postBuild: { substitute: { zone: 'eu' } }, patches: [] } })).toEqual({
      recurse: true,
      settings: ['postBuild'],
    });
  });

  it('names a release after its target, and knows no values that are secret or lie elsewhere', () => {
    const release = (spec: JsonObject) => ({ metadata: { name: 'cache', namespace: 'flux-system' }, spec });
    const read = (spec: JsonObject) =>
      readingOfHelmRelease(release(spec), (text) => text.startsWith('[redacted:'));
    expect(read({ targetNamespace: 'shop', values: { size: 1 } })).toEqual({
      recurse: false,
      chart: {
        release: 'shop-cache',
        namespace: 'shop',
        valueFiles: [],
        includeCrds: true,
        values: { size: 1 },
      },
    });
    expect(read({}).chart).toMatchObject({ release: 'cache', namespace: 'flux-system' });
    expect(read({ values: { auth: { password: '[redacted:0123456789abcdef]' } } }).settings).toEqual([
      'values that are secret',
    ]);
    expect(read({ valuesFrom: [{ kind: 'Secret', name: 'v' }] }).settings).toEqual(['valuesFrom']);
  });
});
