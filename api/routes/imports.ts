import type { Readable } from 'node:stream';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { ensureImportSource } from '../../store/imports.js';
import { findImported } from '../../store/queries/imports.js';
import { findSourceIDs } from '../../store/queries/sources.js';
import type { Api } from '../api.js';
import { TroubleSchema } from '../source-trouble.js';
import { Name } from './sources.js';

const TAGS = ['sources'];
const Digest = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 in hex' });

const Imported = Type.Object({
  source: Type.String(),
  id: Type.String({ description: 'in the ledger of the source\u2019s objects' }),
  known: Type.Boolean({ description: 'the same content was imported before; nothing was read' }),
  events: Type.Integer(),
  duplicates: Type.Integer({ description: 'of the events, those that were stored before' }),
  quarantined: Type.Integer(),
  skipped: Type.Integer({ description: 'records that are no audit events' }),
  salvaged: Type.Integer({ description: 'events of which only a part could be read' }),
  trouble: Type.Optional(TroubleSchema),
});

const Target = {
  source: Type.Optional(Name),
  cluster: Type.Optional(Name),
};

export async function importRoutes({ server, deps, auth }: Api): Promise<void> {
  const target = async ({
    source,
    cluster,
  }: {
    source?: string | undefined;
    cluster?: string | undefined;
  }) => {
    if ((source === undefined) === (cluster === undefined))
      throw new WhochangedError('invalid_request', 'source or cluster: exactly one of them must be said', {
        hint: 'a source, to complete what it sent; or a cluster, for a source of its own',
      });
    if (source === undefined) return ensureImportSource(deps.pool, cluster!);
    const row = await findSourceIDs(deps.db, source);
    if (!row)
      throw new WhochangedError('not_found', `no source is called "${source}"`, {
        hint: 'see `whochanged source list`',
      });
    if (row.disabled) throw new WhochangedError('conflict', `the source "${source}" is disabled`);
    return { name: source, sourceID: row.id, clusterID: row.clusterID };
  };

  server.get(
    '/v1/imports/:sha256',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Whether a file with this content was imported whole',
        params: Type.Object({ sha256: Digest }),
        querystring: Type.Object(Target),
        response: { 200: Type.Object({ imported: Type.Boolean(), name: Type.Optional(Type.String()) }) },
      },
    },
    async ({ params, query }) => {
      const name = await findImported(deps.db, query, params.sha256);
      return name === undefined ? { imported: false } : { imported: true, name };
    },
  );

  await server.register(async (plain) => {
    const scope = plain.withTypeProvider<TypeBoxTypeProvider>();
    // Read as a stream, whatever its size.
    scope.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
    scope.post(
      '/v1/imports',
      {
        onRequest: auth.require('operator'),
        bodyLimit: Number.MAX_SAFE_INTEGER,
        config: { longBody: true } as never,
        schema: {
          tags: TAGS,
          summary: 'Import a file: any format, compressed or not',
          description:
            'The body is the file, as application/octet-stream. Answered once everything in it is durable. A file that broke off is sent again; what is stored already is recognised.',
          consumes: ['application/octet-stream'],
          querystring: Type.Object({
            ...Target,
            name: Type.String({ minLength: 1, maxLength: 1024, description: 'of the file, to be shown' }),
            sha256: Type.Optional(Digest),
            size: Type.Optional(Type.Integer({ minimum: 0 })),
            format: Type.Optional(Type.String({ default: 'auto' })),
          }),
          response: { 200: Imported },
        },
      },
      async ({ query, body }, reply) => {
        const { name, sha256, size, format = 'auto' } = query;
        // What is not read of the body would be taken for the next request.
        reply.header('connection', 'close');
        if (!deps.importFile)
          throw new WhochangedError('conflict', 'this process does not receive events', {
            hint: 'ask one that runs the role ingest',
          });
        if (format !== 'auto' && !deps.formats.includes(format))
          throw new WhochangedError('invalid_request', `format: there is no "${format.slice(0, 40)}"`, {
            hint: `one of auto, ${deps.formats.join(', ')}`,
          });
        if (name.includes('\0')) throw new WhochangedError('invalid_request', 'name: it holds a NUL');
        const source = await target(query);
        const { trouble, ...result } = await deps.importFile(
          { source, name, format, sha256, size },
          body as Readable,
        );
        return { source: source.name, ...result, ...(trouble && { trouble }) };
      },
    );
  });
}
