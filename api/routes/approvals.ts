import { Type } from 'typebox';
import { formatMicros } from '../../core/timestamp.js';
import { importApprovals } from '../../store/facts/imports.js';
import { findApprovals } from '../../store/queries/change-tickets.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import type { Api } from '../api.js';
import { pageSchema } from '../change-schema.js';
import { IMPORT_BODY_BYTES, ImportedSchema, ItemsBody } from '../import-schema.js';
import { PageQuery } from '../list-query.js';
import { PersonSchema } from '../person-schema.js';

const TAGS = ['approvals'];
const Approval = Type.Object({
  id: Type.String(),
  origin: Type.String({ description: 'who told, by what way' }),
  repo: Type.Optional(Type.String()),
  sha: Type.Optional(Type.String()),
  image: Type.Optional(Type.String({ description: 'its digest' })),
  change: Type.Optional(Type.String()),
  approver: PersonSchema,
  approvedAt: Type.String(),
  url: Type.Optional(Type.String()),
});
const Query = Type.Object({
  ...PageQuery,
  origin: Type.Optional(Type.String()),
  subject: Type.Optional(
    Type.String({ description: 'the SHA of a commit, digest of an image or id of a change' }),
  ),
});

export function approvalRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/approvals',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Approvals that other systems told, the latest first',
        querystring: Query,
        response: { 200: pageSchema(Approval) },
      },
    },
    async ({ query }) => {
      const filter = {
        ...(query.origin && { origin: query.origin }),
        ...(query.subject && { subject: query.subject }),
      };
      const page = await findApprovals(deps.pool, filter, decodeCursor(query.cursor), query.limit ?? 50);
      const items = page.items.map(({ id, origin, subject, approver, approvedAt, url }) => ({
        id,
        origin,
        ...(subject.kind === 'commit' && { repo: subject.repo, sha: subject.sha }),
        ...(subject.kind === 'image' && { image: subject.digest }),
        ...(subject.kind === 'change' && { change: subject.id }),
        approver,
        approvedAt: formatMicros(approvedAt),
        ...(url !== undefined && { url }),
      }));
      return { items, next: page.next };
    },
  );

  server.post(
    '/v1/approvals/import',
    {
      bodyLimit: IMPORT_BODY_BYTES,
      // They decide verdicts: whoever may write them may make anything approved.
      onRequest: auth.require('admin'),
      schema: {
        tags: TAGS,
        summary: 'Import approvals of another system; a bad one costs no other',
        body: ItemsBody,
        response: { 200: ImportedSchema },
      },
    },
    async ({ body, caller }) => (await importApprovals(deps.pool, body.items, `import by ${caller!.name}`))!,
  );
}
