import { Type } from 'typebox';
import type { PullRequest } from '../../core/approval/facts.js';
import { MERGE_METHODS, REVIEW_STATES } from '../../core/approval/facts.js';
import { WhochangedError } from '../../core/errors.js';
import { formatMicros } from '../../core/timestamp.js';
import { findPullRequest } from '../../store/queries/pull-requests.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { PersonSchema } from '../person-schema.js';

const MaybeText = Type.Optional(Type.String());
const Review = Type.Object({
  id: Type.String(),
  reviewer: PersonSchema,
  state: words(REVIEW_STATES),
  submittedAt: Type.String(),
  sha: Type.Optional(Type.String({ description: 'the head that was reviewed' })),
  dismissedAt: MaybeText,
  dismissedBy: Type.Optional(PersonSchema),
  permission: Type.Optional(
    Type.String({ description: 'what the reviewer was allowed, as of permissionSeenAt' }),
  ),
  permissionSeenAt: MaybeText,
  counted: Type.Optional(Type.Boolean({ description: 'whether the host counted it, where it tells' })),
});
const PullRequestSchema = Type.Object({
  repo: Type.String(),
  number: Type.Integer(),
  title: Type.String(),
  url: Type.String(),
  state: words(['open', 'closed', 'merged'] as const),
  author: PersonSchema,
  lastPusher: Type.Optional(PersonSchema),
  lastPushedAt: MaybeText,
  baseRef: Type.String(),
  headSha: Type.String(),
  commits: Type.Array(
    Type.Object({
      sha: Type.String(),
      author: PersonSchema,
      committer: PersonSchema,
      coAuthors: Type.Optional(Type.Array(PersonSchema)),
    }),
  ),
  createdAt: Type.String(),
  mergedAt: MaybeText,
  mergedBy: Type.Optional(PersonSchema),
  mergeSha: MaybeText,
  mergeMethod: Type.Optional(words(MERGE_METHODS)),
  requiredApprovals: Type.Optional(Type.Integer()),
  reviews: Type.Array(Review),
  bypass: Type.Optional(Type.Object({ actor: PersonSchema, at: Type.String(), rule: Type.String() })),
  syncedAt: Type.String({ description: 'when these facts were fetched' }),
});

/** A time under its name, where there is one. */
function at<K extends string>(name: K, micros: number | undefined): { [key in K]?: string } {
  return (micros === undefined ? {} : { [name]: formatMicros(micros) }) as { [key in K]?: string };
}

function pullRequestItem(pr: PullRequest, syncedAt: string) {
  const { createdAt, lastPushedAt, mergedAt, reviews, bypass, ...rest } = pr;
  return {
    ...rest,
    createdAt: formatMicros(createdAt),
    ...at('lastPushedAt', lastPushedAt),
    ...at('mergedAt', mergedAt),
    reviews: reviews.map(({ submittedAt, dismissedAt, permissionSeenAt, ...review }) => ({
      ...review,
      submittedAt: formatMicros(submittedAt),
      ...at('dismissedAt', dismissedAt),
      ...at('permissionSeenAt', permissionSeenAt),
    })),
    ...(bypass && { bypass: { ...bypass, at: formatMicros(bypass.at) } }),
    syncedAt,
  };
}

export function pullRequestRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/repos/:name/pull-requests/:number',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: ['hosts'],
        summary:
          'A pull request, merge request or change: its people, commits, reviews and merge, as the host told',
        params: Type.Object({
          name: Type.String({ maxLength: 100 }),
          number: Type.Integer({ minimum: 1, maximum: 2147483647 }),
        }),
        response: { 200: PullRequestSchema },
      },
    },
    async ({ params }) => {
      const found = await findPullRequest(deps.pool, params.name, params.number);
      if (!found)
        throw new WhochangedError('not_found', `${params.name}#${params.number} is not known`, {
          hint: 'see `whochanged host status` for when its host was last asked',
        });
      return pullRequestItem(found.pullRequest, found.syncedAt);
    },
  );
}
