import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { parseRepoURL } from '../../core/git/repo-url.js';
import { HOST_KINDS } from '../../store/git-schema.js';
import { findHolds } from '../../store/holds.js';
import {
  createRepo,
  findBranchesAndTags,
  findRefUpdates,
  findRepoFindings,
  findRepos,
  type RepoItem,
  removeRepo,
  requestFetch,
  setRepoDisabled,
} from '../../store/queries/repos.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { RepoDetail, RepoSchema, refUpdate, repoItem } from '../repo-schema.js';

/** The job that fetches (jobs/git/fetch-repos.ts). */
const FETCH_JOB = 'fetch-repos';
const LATEST = 50;
const MOST_REFS = 1000;

const Name = Type.String({
  pattern: '^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$',
  description: 'lower-case letters, digits, ., - and _',
});
const AbsolutePath = Type.String({
  pattern: '^/[A-Za-z0-9_./+@%=-]+$',
  description: 'on the machine that runs the jobs',
});

const TAGS = ['repos'];

export function repoRoutes({ server, deps, auth }: Api): void {
  const find = async (name: string): Promise<RepoItem> => {
    const [row] = await findRepos(deps.db, name);
    if (!row)
      throw new WhochangedError('not_found', `no repository is called "${name}"`, {
        hint: 'see `whochanged repo list`',
      });
    return row;
  };

  server.get(
    '/v1/repos',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Mirrored git repositories',
        response: { 200: Type.Object({ items: Type.Array(RepoSchema) }) },
      },
    },
    async () => ({ items: (await findRepos(deps.db)).map(repoItem) }),
  );

  const Create = Type.Object(
    {
      name: Name,
      url: Type.String({ maxLength: 2000, description: 'https or ssh, without a user or password' }),
      host: Type.Optional(words(HOST_KINDS)),
      apiURL: Type.Optional(Type.String({ pattern: '^https?://[^@\\s]+$', maxLength: 500 })),
      project: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })),
      defaultBranch: Type.Optional(Type.String({ minLength: 1, maxLength: 250 })),
      credential: Type.Optional(
        Type.String({
          pattern: '^(env:WHOCHANGED_CREDENTIAL_[A-Z0-9_]+|file:/.+)$',
          maxLength: 500,
          description:
            'where the secret is: env:WHOCHANGED_CREDENTIAL_..., or file:/... in the credentials folder',
        }),
      ),
      sshKeyFile: Type.Optional(AbsolutePath),
      knownHostsFile: Type.Optional(AbsolutePath),
    },
    { additionalProperties: false },
  );
  server.post(
    '/v1/repos',
    {
      onRequest: auth.require('admin'),
      schema: { tags: TAGS, summary: 'Mirror a repository', body: Create, response: { 201: RepoSchema } },
    },
    async ({ body }, reply) => {
      const parsed = parseRepoURL(body.url);
      if (!deps.repoProtocols.includes(parsed.protocol))
        throw new WhochangedError('invalid_request', `fetching by ${parsed.protocol} is switched off`, {
          hint: `use another URL, or add ${parsed.protocol} to WHOCHANGED_GIT_PROTOCOLS`,
        });
      if (parsed.protocol === 'ssh' && (body.sshKeyFile === undefined || body.knownHostsFile === undefined))
        throw new WhochangedError('invalid_request', 'ssh needs a key and the hosts that are known', {
          hint: 'give --ssh-key-file and --known-hosts-file',
        });
      const host = body.host ?? hostOf(parsed.host);
      try {
        await createRepo(deps.db, {
          name: body.name,
          url: parsed.url,
          host_kind: host,
          api_url: body.apiURL ?? null,
          project: body.project ?? (host === 'git' ? null : parsed.project),
          default_branch: body.defaultBranch ?? null,
          credential: body.credential ?? null,
          ssh_key_file: body.sshKeyFile ?? null,
          known_hosts_file: body.knownHostsFile ?? null,
        });
      } catch (error) {
        if ((error as { code?: string }).code === '23505')
          throw new WhochangedError('conflict', `a repository called "${body.name}" is there already`, {
            hint: 'choose another name',
          });
        throw error;
      }
      deps.pokeJob(FETCH_JOB);
      return reply.code(201).send(repoItem(await find(body.name)));
    },
  );

  const Params = Type.Object({ name: Name });
  server.get(
    '/v1/repos/:name',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'One repository: its state, branches and tags, what was rewritten',
        params: Params,
        response: { 200: RepoDetail },
      },
    },
    async ({ params }) => {
      const row = await find(params.name);
      const [refs, updates, rewritten, findings] = await Promise.all([
        findBranchesAndTags(deps.db, row.id, MOST_REFS),
        findRefUpdates(deps.db, row.id, { rewritten: false, limit: LATEST }),
        findRefUpdates(deps.db, row.id, { rewritten: true, limit: LATEST }),
        findRepoFindings(deps.db, row.id, LATEST),
      ]);
      return {
        ...repoItem(row),
        refs: refs.map((ref) => ({ name: ref.name, sha: ref.sha, updatedAt: ref.updated_at })),
        updates: updates.map(refUpdate),
        rewritten: rewritten.map(refUpdate),
        findings,
      };
    },
  );

  /** An action on one repository that answers with what it then is. */
  const action = (
    word: string,
    role: 'operator' | 'admin',
    summary: string,
    act: (row: RepoItem) => Promise<void>,
  ) =>
    server.post(
      `/v1/repos/:name/${word}`,
      {
        onRequest: auth.require(role),
        schema: { tags: TAGS, summary, params: Params, response: { 200: RepoSchema } },
      },
      async ({ params }) => {
        await act(await find(params.name as string));
        return repoItem(await find(params.name as string));
      },
    );
  action(
    'fetch',
    'operator',
    'Ask for a fetch now; fetch.fetchedAt or fetch.error tells when it is done',
    async (row) => {
      if (row.disabled_at !== null)
        throw new WhochangedError('conflict', `"${row.name}" is disabled`, {
          hint: '`whochanged repo enable` it first',
        });
      await requestFetch(deps.db, row.id);
      deps.pokeJob(FETCH_JOB);
    },
  );
  action('disable', 'admin', 'Fetch it no more; what was indexed stays', (row) =>
    setRepoDisabled(deps.db, row.id, true),
  );
  action('enable', 'admin', 'Fetch it again', (row) => setRepoDisabled(deps.db, row.id, false));

  server.delete(
    '/v1/repos/:name',
    {
      onRequest: auth.require('admin'),
      schema: {
        tags: TAGS,
        summary: 'Forget a repository and its index; the facts of its host and its mirror on disk stay',
        params: Params,
        response: { 204: Type.Null() },
      },
    },
    async ({ params }, reply) => {
      const repo = await find(params.name);
      // What a held change was approved by, and how history was rewritten, is told by the index.
      if ((await findHolds(deps.pool, false)).length > 0)
        throw new WhochangedError(
          'conflict',
          'a legal hold is in force, and may need what this repository tells',
          {
            hint: '`whochanged repo disable` fetches it no more, and keeps all of it',
          },
        );
      await removeRepo(deps.db, repo.id);
      return reply.code(204).send(null);
    },
  );
}

/** The hosts that everybody knows; another says by `host` what it is. */
function hostOf(hostname: string): RepoItem['host_kind'] {
  if (hostname === 'github.com') return 'github';
  return hostname === 'gitlab.com' ? 'gitlab' : 'git';
}
