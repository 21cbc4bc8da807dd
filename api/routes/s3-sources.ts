import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { createS3Source, type NewS3Source } from '../../store/s3-sources.js';
import type { Api } from '../api.js';
import type { ApiDeps } from '../deps.js';
import { LocationProperties, nameOfLocation, readLocation } from '../s3-location.js';
import { readTime } from '../times.js';
import { findSource, Name, Source, sourceItem } from './sources.js';

const MAX_LOOK_BACK_SECONDS = 90 * 86_400;
const TAGS = ['sources'];

/** Creates an s3 source in a transaction. */
export async function addS3Source(deps: ApiDeps, source: NewS3Source): Promise<void> {
  const client = await deps.pool.connect();
  try {
    await client.query('begin');
    await createS3Source(client, source);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    if ((error as { code?: string }).code === '23505')
      throw new WhochangedError('conflict', `a source called "${source.name}" is there already`, {
        hint: 'choose another name with --name',
      });
    throw error;
  } finally {
    client.release();
  }
  await deps.sourcesChanged();
}

export function s3SourceRoutes({ server, deps, auth }: Api): void {
  const Create = Type.Object({
    name: Type.Optional(Name),
    cluster: Name,
    ...LocationProperties,
    sqsQueueURL: Type.Optional(Type.String({ maxLength: 500 })),
    lookBackSeconds: Type.Optional(
      Type.Integer({ minimum: 0, maximum: MAX_LOOK_BACK_SECONDS, default: 86_400 }),
    ),
    from: Type.Optional(Type.String({ description: 'pass over what is older; a time, or 7d ago' })),
  });
  server.post(
    '/v1/sources/s3',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Read a prefix of a bucket, and follow it',
        body: Create,
        response: { 201: Source },
      },
    },
    async ({ body }, reply) => {
      const location = readLocation(body, deps.formats, body.sqsQueueURL);
      const name = body.name ?? nameOfLocation(location);
      const since = readTime('from', body.from) ?? null;
      const follow = { lookBackSeconds: body.lookBackSeconds ?? 86_400, since };
      await addS3Source(deps, { name, cluster: body.cluster, location, follow });
      return reply.code(201).send(sourceItem(await findSource(deps.db, name)));
    },
  );
}
