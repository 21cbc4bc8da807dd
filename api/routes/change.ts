import { Type } from 'typebox';
import { STAGES } from '../../core/audit-event.js';
import { WhochangedError } from '../../core/errors.js';
import { AGREEMENTS } from '../../core/provenance.js';
import { findBody, findChangeDetail } from '../../store/queries/change-detail.js';
import { findChange, findConsequences } from '../../store/queries/changes.js';
import { findGateDecisionsOf } from '../../store/queries/gate-decisions.js';
import { findVerdictsOf } from '../../store/queries/verdicts.js';
import type { Api } from '../api.js';
import { changeItem } from '../change-item.js';
import { ArchivedFlag, ChangeSchema, words } from '../change-schema.js';
import { ChainNameSchema, findPeopleBehind } from '../people-behind.js';
import { LinkSchema, linkItem, VerdictSchema, verdictItem } from '../verdict-schema.js';
import { GateDecision, gateDecisionItem } from './gate.js';

const TAGS = ['changes'];

/** One change: what a list tells of it, and what it doesn't. */
export function oneChangeRoutes({ server, deps, auth }: Api): void {
  const onRequest = auth.requireWithin('reader');

  const Params = Type.Object({ id: Type.String({ format: 'uuid' }) });
  const Told = Type.Object({
    source: Type.String(),
    kind: Type.String({ description: 'how it tells: webhook, s3, ...' }),
    stages: Type.Array(
      Type.Object({
        stage: words(STAGES),
        seq: Type.String(),
        digest: Type.String({ description: 'SHA-256 of the canonical redacted event' }),
        object: Type.Optional(
          Type.Object(
            {
              bucket: Type.String(),
              key: Type.String(),
              etag: Type.String(),
              versionID: Type.Union([Type.String(), Type.Null()]),
            },
            { description: 'that held it; of an imported file, bucket is empty and key its name' },
          ),
        ),
      }),
    ),
    firstSeq: Type.String({ description: 'when it first told of it, in the cluster\u2019s order of commit' }),
    agreement: words(AGREEMENTS),
  });
  const Detail = Type.Object({
    ...ChangeSchema.properties,
    archived: ArchivedFlag,
    requested: Type.Optional(Type.Array(Type.String(), { description: 'the fields that the patch names' })),
    decision: Type.Optional(
      Type.Object({ decision: Type.Optional(Type.String()), reason: Type.Optional(Type.String()) }),
    ),
    annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
    latencyMs: Type.Optional(Type.Number()),
    events: Type.Array(Type.Object({ eventID: Type.String(), stage: Type.String(), source: Type.String() })),
    sources: Type.Array(Told, { description: 'every source that told of this request, the first one first' }),
    consequences: Type.Array(ChangeSchema),
    gate: Type.Array(GateDecision, {
      description: 'what the gate said of the request before it was carried out',
    }),
    links: Type.Array(LinkSchema, { description: 'every way in which it may be tied to commits, in order' }),
    people: Type.Optional(
      Type.Array(ChainNameSchema, {
        description: 'who was behind it, from the request back to its commits; tenants are not told',
      }),
    ),
    verdicts: Type.Array(VerdictSchema, {
      description: 'as they were given, the newest first: the one that holds',
    }),
  });

  server.get(
    '/v1/changes/:id',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'One change, with its fields and what it set off',
        params: Params,
        response: { 200: Detail },
      },
    },
    async (request) => {
      const store = auth.storeOf(request);
      const { db } = store;
      const row = await findChange(db, request.params.id);
      if (!row) throw new WhochangedError('not_found', `no change has the id ${request.params.id}`);
      const detail = await findChangeDetail(db, row);
      const { links, verdicts } = await findVerdictsOf(store, row);
      const consequences = await findConsequences(db, row.cluster, row.change_id, 100);
      return {
        ...changeItem({ ...row, diff: detail.diff ?? null }),
        ...detail.extra,
        links: links.map(linkItem),
        verdicts: verdicts.map(verdictItem),
        // Repositories, and who is who, are no tenant's to see.
        ...(!request.tenant && { people: await findPeopleBehind(deps, row, verdicts[0]) }),
        consequences: consequences.map(changeItem),
        gate: (await findGateDecisionsOf(db, row.cluster, row.change_id)).map(gateDecisionItem),
      };
    },
  );

  for (const side of ['before', 'after'] as const) {
    server.get(
      `/v1/changes/:id/${side}`,
      { onRequest, schema: { tags: TAGS, summary: `The object ${side} a change`, params: Params } },
      async (request) => {
        const { db } = auth.storeOf(request);
        const found = await findBody(db, request.params.id, side);
        if (!found)
          throw new WhochangedError(
            'not_found',
            `no object is known ${side} the change ${request.params.id}`,
          );
        return found;
      },
    );
  }
}
