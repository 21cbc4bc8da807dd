import type { Change, Page } from './answers.ts';
import { get, type Query } from './api.ts';

/** One kind of risk, and the questions whose answers together show it. */
export interface Risk {
  title: string;
  /** What it means that it's empty, or where its limits are. */
  note: string;
  questions: ReadonlyArray<{ path: string; query: Query; clusterWide?: boolean }>;
}

const TEMPLATE = 'spec.template.spec';
const IMAGES = [
  `${TEMPLATE}.containers[*].image`,
  `${TEMPLATE}.initContainers[*].image`,
  `spec.jobTemplate.${TEMPLATE}.containers[*].image`,
  'spec.containers[*].image',
];

/** What is looked at first in an incident, the riskiest first. */
export const RISKS: readonly Risk[] = [
  {
    title: 'Rights granted',
    note: 'Roles, bindings and their like that gave somebody more, also those for the whole cluster.',
    questions: [
      { path: '/v1/changes', query: { kind: 'rbac_grant' }, clusterWide: true },
      { path: '/v1/changes', query: { kind: 'csr_approval' }, clusterWide: true },
    ],
  },
  {
    title: 'Interactive access',
    note: 'exec, attach, port-forward, proxy and debug containers, also what was refused.',
    questions: [{ path: '/v1/access', query: { all: true } }],
  },
  {
    title: 'Secrets read',
    note: 'By people and pipelines; what built-in controllers read is left out.',
    questions: [{ path: '/v1/secret-reads', query: {} }],
  },
  {
    title: 'Images',
    note: 'A container of a workload was given another image.',
    questions: IMAGES.map((field) => ({ path: '/v1/changes', query: { field, verb: ['update', 'patch'] } })),
  },
  {
    title: 'Configuration',
    note: 'ConfigMaps and Secrets that were written. Values of Secrets are never kept.',
    questions: [{ path: '/v1/changes', query: { resource: ['configmaps', 'secrets'] } }],
  },
  {
    title: 'Out-of-band',
    note: 'Changed past the pipelines that should have. A verdict comes some seconds after its change.',
    questions: [{ path: '/v1/changes', query: { verdict: 'out-of-band' } }],
  },
  {
    title: 'Deleted',
    note: 'By people and pipelines.',
    questions: ['delete', 'delete_collection', 'eviction'].map((kind) => ({
      path: '/v1/changes',
      query: { kind },
    })),
  },
];

const MOST = 50;

export interface Found {
  changes: Change[];
  /** There is more than is shown. */
  more: boolean;
}

/** The changes of a risk in a window, newest first, each once. */
export async function findRisk(
  risk: Risk,
  window: { since: string; until: string },
  namespaces: readonly string[],
  signal: AbortSignal,
): Promise<Found> {
  const pages = await Promise.all(
    risk.questions.flatMap(({ path, query, clusterWide }) => {
      // Access and Secrets are asked for one namespace at a time; what belongs to no namespace concerns all.
      const places = namespaces.length > 0 ? namespaces : [undefined];
      const asked = clusterWide ? [undefined] : places;
      return asked.map((namespace) =>
        get<Page<Change>>(path, { ...query, ...window, namespace, limit: MOST }, signal),
      );
    }),
  );
  const found = new Map(pages.flatMap((page) => page.items).map((change) => [change.id, change]));
  const wanted = [...found.values()].filter(
    ({ object }) => namespaces.length === 0 || !object.namespace || namespaces.includes(object.namespace),
  );
  return {
    changes: wanted.sort((a, b) => (a.at < b.at ? 1 : -1)),
    more: pages.some((page) => page.next !== null),
  };
}
