import type { Pool } from 'pg';
import { type Static, Type } from 'typebox';
import { formatFieldPath, parseFieldPath } from '../core/diff/field-path.js';
import { WhochangedError } from '../core/errors.js';
import { resourceOf } from '../core/resource-names.js';
import { VERDICTS } from '../core/verdict/verdict.js';
import { CHANGE_KINDS, EVENT_CLASSES } from '../core/vocabulary.js';
import type { ChangeFilter } from '../store/queries/change-filter.js';
import { findDeployedCommits } from '../store/queries/deployed-commits.js';
import { words } from './change-schema.js';
import { listOf, many } from './list-query.js';
import { readTime } from './times.js';

/** What a question about changes may ask for. */
export const FilterQuery = {
  cluster: many(Type.String()),
  namespace: many(Type.String()),
  resource: many(
    Type.String({
      description: 'plural, kind or short name: deployments, Deployment, deploy, deployments.apps',
    }),
  ),
  name: many(Type.String({ description: 'exact, or a prefix and *' })),
  label: many(
    Type.String({
      description:
        'key=value, which the object bore after the change or before it; several with commas: all must hold',
    }),
  ),
  actor: many(Type.String({ description: 'user or impersonatedUser; * stands for anything' })),
  tool: many(Type.String()),
  verb: many(Type.String()),
  kind: Type.Optional(Type.Union([words(CHANGE_KINDS), Type.Array(words(CHANGE_KINDS))])),
  class: Type.Optional(Type.Union([words(EVENT_CLASSES), Type.Array(words(EVENT_CLASSES))])),
  verdict: Type.Optional(Type.Union([words(VERDICTS), Type.Array(words(VERDICTS))])),
  commit: many(
    Type.String({ description: 'changes that brought this commit: a SHA, or 7 digits and more of it' }),
  ),
  pr: many(Type.String({ description: 'changes that brought a pull request: 7, or repo#7' })),
  field: many(Type.String({ description: 'a field path; stands for all below it; [*] for any list item' })),
  since: Type.Optional(Type.String({ description: 'RFC 3339, or 30m, 2h, 7d ago' })),
  until: Type.Optional(Type.String({ description: 'not included' })),
  all: Type.Optional(Type.Boolean({ description: 'also what changed nothing or is bookkeeping' })),
};

export type Filters = Static<ReturnType<typeof Type.Object<typeof FilterQuery>>>;

/** The question that a query string asks; the commits that it names are looked up by `readCommits`. */
export function readFilter(query: Omit<Filters, 'commit' | 'pr'>): ChangeFilter {
  const lists = {
    clusters: listOf(query.cluster),
    namespaces: listOf(query.namespace),
    resources: listOf(query.resource)?.map(resourceOf),
    names: listOf(query.name),
    labels: listOf(query.label)?.flatMap(readLabels),
    actors: listOf(query.actor),
    tools: listOf(query.tool)?.map(lower),
    verbs: listOf(query.verb)?.map(lower),
    kinds: listOf(query.kind),
    classes: listOf(query.class),
    verdicts: listOf(query.verdict),
    fields: listOf(query.field)?.map((path) =>
      formatFieldPath(parseFieldPath(path)).replaceAll('[="*"]', '[*]'),
    ),
    since: readTime('since', query.since),
    until: readTime('until', query.until),
  };
  if (lists.since !== undefined && lists.until !== undefined && lists.since >= lists.until)
    throw new WhochangedError(
      'invalid_request',
      `since (${lists.since}) is not before until (${lists.until})`,
      {
        hint: 'a time such as 2h is that long ago: since=2h and until=1h are an hour',
      },
    );
  return Object.fromEntries(Object.entries(lists).filter(([, value]) => value !== undefined)) as ChangeFilter;
}

/** The commits that a query string names. All that comes of it is asked for within what the caller may see. */
export async function readCommits(
  query: Filters,
  db: Pick<Pool, 'query'>,
): Promise<Pick<ChangeFilter, 'commits'>> {
  const commits = listOf(query.commit) ?? [];
  const pullRequests = listOf(query.pr) ?? [];
  if (commits.length + pullRequests.length === 0) return {};
  return { commits: await findDeployedCommits(db, commits, pullRequests) };
}

/** Verbs and tools are kept in lower case; people also write PATCH and Helm. */
const lower = (word: string) => word.toLowerCase();

/**
 * The labels that a selector asks for: `app=web`, `app==web`, several with commas between them, as kubectl's -l takes
 * them (k8s.io/apimachinery/pkg/labels/selector.go). What else a selector can say is refused, not taken for a value.
 */
function readLabels(text: string): string[] {
  return text.split(',').map((part) => {
    const [, key, value] = /^\s*([\w./-]+)\s*==?\s*([\w.-]*)\s*$/.exec(part) ?? [];
    if (key !== undefined) return `${key}=${value}`;
    throw new WhochangedError('invalid_request', `label: "${text.slice(0, 60)}" is not key=value`, {
      hint: 'write label=app=web, or label=app=web,tier=front for both; !=, in and notin are not known here',
    });
  });
}
