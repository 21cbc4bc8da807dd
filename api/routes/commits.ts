import { type Static, Type } from 'typebox';
import { type Person, SIGNATURES } from '../../core/approval/facts.js';
import { WhochangedError } from '../../core/errors.js';
import { formatMicros } from '../../core/timestamp.js';
import { REF_UPDATE_KINDS } from '../../store/git-schema.js';
import { type CommitDetail, findCommitDetails } from '../../store/queries/commits.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';

/** More repositories than this don't share a commit but by mistake of the one who asks. */
const MOST = 20;
const MOST_PATHS = 1000;

const PersonSchema = Type.Object({
  name: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  login: Type.Optional(Type.String()),
});
const MaybeText = Type.Union([Type.String(), Type.Null()]);
const CommitSchema = Type.Object({
  repo: Type.String(),
  sha: Type.String(),
  tree: Type.String(),
  parents: Type.Array(Type.String()),
  author: PersonSchema,
  authoredAt: Type.String(),
  committer: PersonSchema,
  committedAt: Type.String(),
  coAuthors: Type.Array(PersonSchema),
  signature: words(SIGNATURES),
  signer: MaybeText,
  subject: Type.String(),
  message: Type.String(),
  trailers: Type.Array(Type.Object({ key: Type.String(), value: Type.String() })),
  changedPaths: Type.Array(Type.String(), {
    description: `against the first parent; the first ${MOST_PATHS}`,
  }),
  changedPathCount: Type.Integer(),
  indexedAt: Type.String(),
  refs: Type.Array(Type.String(), {
    description: 'branches, tags and heads of pull requests that point at it',
  }),
  refUpdates: Type.Array(
    Type.Object({
      name: Type.String(),
      kind: words(REF_UPDATE_KINDS),
      before: MaybeText,
      after: MaybeText,
      seenAt: Type.String(),
      pushedAt: MaybeText,
      pushedBy: MaybeText,
    }),
    { description: 'that brought a ref to it, or took one away from it' },
  ),
});

function personItem({ name, email, login }: Person): Static<typeof PersonSchema> {
  return {
    ...(name !== undefined && { name }),
    ...(email !== undefined && { email }),
    ...(login !== undefined && { login }),
  };
}

function commitItem({ commit, ...detail }: CommitDetail): Static<typeof CommitSchema> {
  return {
    repo: commit.repo,
    sha: commit.sha,
    tree: commit.tree,
    parents: commit.parents,
    author: personItem(commit.author),
    authoredAt: formatMicros(commit.authoredAt),
    committer: personItem(commit.committer),
    committedAt: formatMicros(commit.committedAt),
    coAuthors: commit.coAuthors.map(personItem),
    signature: commit.signature,
    signer: commit.signer ?? null,
    subject: commit.subject,
    message: detail.message,
    trailers: detail.trailers.map(([key, value]) => ({ key, value })),
    changedPaths: commit.changedPaths.slice(0, MOST_PATHS),
    changedPathCount: commit.changedPaths.length,
    indexedAt: detail.indexedAt,
    refs: detail.refs,
    refUpdates: detail.refUpdates as Static<typeof CommitSchema>['refUpdates'],
  };
}

export function commitRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/commits/:sha',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: ['repos'],
        summary: 'What is known of a commit, in each repository that has it',
        params: Type.Object({
          sha: Type.String({
            pattern: '^[0-9a-fA-F]{4,64}$',
            description: 'the id, or at least its first 4 digits',
          }),
        }),
        querystring: Type.Object({
          repo: Type.Optional(Type.String({ description: 'only in this repository' })),
        }),
        response: { 200: Type.Object({ items: Type.Array(CommitSchema) }) },
      },
    },
    async ({ params, query }) => {
      const found = await findCommitDetails(deps.pool, params.sha.toLowerCase(), {
        repo: query.repo,
        limit: MOST,
      });
      if (found.length === 0)
        throw new WhochangedError('not_found', `no mirrored repository has a commit ${params.sha}`, {
          hint: 'see `whochanged repo list` for what is mirrored and when it was last fetched',
        });
      return { items: found.map(commitItem) };
    },
  );
}
