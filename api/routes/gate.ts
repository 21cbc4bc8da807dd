import { type Static, Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { readAttestation } from '../../core/gate/attestation.js';
import { GATE_MODES, GATE_OUTCOMES } from '../../core/gate/decision.js';
import { VERDICTS } from '../../core/verdict/verdict.js';
import { recordImageCommits } from '../../store/gate/image-commits.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import {
  findGateDecision,
  findGateDecisions,
  type GateDecisionRow,
} from '../../store/queries/gate-decisions.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';

const Maybe = Type.Union([Type.String(), Type.Null()]);
export const GateDecision = Type.Object({
  id: Type.String(),
  cluster: Type.String(),
  at: Type.String(),
  mode: words(GATE_MODES),
  failure: words(['open', 'closed']),
  denyUnknown: Type.Boolean(),
  outcome: words(GATE_OUTCOMES),
  operation: Type.String(),
  object: Type.Object({
    group: Type.String(),
    resource: Type.String(),
    subresource: Type.Optional(Type.String()),
    namespace: Type.String(),
    name: Type.String(),
  }),
  username: Type.String({ description: 'the effective one' }),
  verdict: Type.Union([words(VERDICTS), Type.Null()], { description: 'null: it could not be told in time' }),
  reason: Maybe,
  detail: Type.String(),
  environment: Maybe,
  policyVersion: Maybe,
  commits: Type.Array(Type.Unknown()),
  evidence: Type.Array(Type.Unknown()),
  hazards: Type.Array(Type.String()),
  latencyMs: Type.Number(),
  event: Type.Union(
    [
      Type.Object({
        changeID: Type.String({
          description: 'of the request; a change has it where the request changed something',
        }),
        auditID: Type.String(),
        code: Type.Union([Type.Integer(), Type.Null()]),
        agrees: Type.Boolean({ description: 'whether the event is of the same user and object' }),
      }),
      Type.Null(),
    ],
    { description: 'the audit event that carries the id; null: none came yet' },
  ),
});

export function gateDecisionItem(row: GateDecisionRow): Static<typeof GateDecision> {
  return {
    id: row.id,
    cluster: row.cluster,
    at: row.at,
    mode: row.mode as Static<typeof GateDecision>['mode'],
    failure: row.fail as 'open' | 'closed',
    denyUnknown: row.deny_unknown,
    outcome: row.outcome as Static<typeof GateDecision>['outcome'],
    operation: row.operation,
    object: {
      group: row.api_group,
      resource: row.resource,
      ...(row.subresource !== null && { subresource: row.subresource }),
      namespace: row.namespace,
      name: row.name,
    },
    username: row.username,
    verdict: row.verdict as Static<typeof GateDecision>['verdict'],
    reason: row.reason,
    detail: row.detail,
    environment: row.environment,
    policyVersion: row.policy_version,
    commits: row.document?.commits ?? [],
    evidence: row.document?.evidence ?? [],
    hazards: row.document?.hazards ?? [],
    latencyMs: row.latency_ms,
    event:
      row.request_id === null
        ? null
        : {
            changeID: row.request_id,
            auditID: row.audit_id ?? '',
            code: row.code,
            agrees: row.agrees ?? false,
          },
  };
}

const TAGS = ['gate'];

export function gateRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/gate/decisions',
    {
      onRequest: auth.requireWithin('reader'),
      schema: {
        tags: TAGS,
        summary: 'What the gate said of requests, newest first',
        querystring: Type.Object({
          cluster: Type.Optional(Type.String()),
          namespace: Type.Optional(Type.String()),
          outcome: Type.Optional(words(GATE_OUTCOMES)),
          unlinked: Type.Optional(Type.Boolean({ description: 'only those whose audit event has not come' })),
          cursor: Type.Optional(Type.String()),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
        }),
        response: { 200: pageSchema(GateDecision) },
      },
    },
    async (request) => {
      const { cursor, limit, ...filter } = request.query;
      const after = cursor === undefined ? undefined : decodeCursor(cursor);
      const page = await findGateDecisions(auth.storeOf(request).db, filter, after, limit ?? 50);
      return { items: page.items.map(gateDecisionItem), next: page.next };
    },
  );

  server.get(
    '/v1/gate/decisions/:id',
    {
      onRequest: auth.requireWithin('reader'),
      schema: {
        tags: TAGS,
        summary: 'One decision with its evidence',
        params: Type.Object({ id: Type.String() }),
        response: { 200: GateDecision },
      },
    },
    async (request) => {
      const { id } = request.params;
      const row = /^[0-9a-f-]{36}$/.test(id)
        ? await findGateDecision(auth.storeOf(request).db, id)
        : undefined;
      if (!row)
        throw new WhochangedError('not_found', `no decision has the id ${id.slice(0, 40)}`, {
          hint: 'decisions are kept within a second; dry runs never are',
        });
      return gateDecisionItem(row);
    },
  );

  server.get(
    '/v1/gate/manifest',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'The ValidatingWebhookConfiguration that has a cluster ask the gate, as YAML',
        querystring: Type.Object({
          cluster: Type.String({ minLength: 1, maxLength: 63, pattern: '^[a-z0-9.-]+$' }),
          mode: Type.Optional(words(GATE_MODES)),
          failure: Type.Optional(words(['open', 'closed'])),
          denyUnknown: Type.Optional(Type.Boolean()),
          timeoutSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 30 })),
          exempt: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String(), { maxItems: 100 })])),
        }),
      },
    },
    async ({ query }, reply) => {
      const known = await deps.pool.query('select from clusters where name = $1', [query.cluster]);
      if (known.rowCount === 0)
        throw new WhochangedError('not_found', `no cluster is called "${query.cluster}"`, {
          hint: 'see `whochanged source list`; `whochanged source add` makes one',
        });
      const yaml = deps.gateManifest({
        cluster: query.cluster,
        settings: {
          mode: query.mode ?? 'audit',
          failure: query.failure ?? 'open',
          denyUnknown: query.denyUnknown ?? false,
        },
        timeoutSeconds: query.timeoutSeconds ?? 5,
        exempt: query.exempt === undefined ? ['kube-system'] : [query.exempt].flat(),
      });
      return reply.type('application/yaml').send(yaml);
    },
  );

  server.post(
    '/v1/attestations',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary:
          'Tie an image to its commit: SLSA provenance in a DSSE envelope, signed by a signer of the policy',
        body: Type.Object({
          payloadType: Type.String(),
          payload: Type.String(),
          signatures: Type.Array(Type.Object({ sig: Type.String() }), { minItems: 1, maxItems: 20 }),
        }),
        response: {
          201: Type.Object({
            items: Type.Array(
              Type.Object({
                image: Type.String(),
                repository: Type.String(),
                sha: Type.String(),
                signer: Type.String(),
              }),
            ),
            added: Type.Integer(),
          }),
        },
      },
    },
    async ({ body }, reply) => {
      const { policy } = await deps.gate.policy();
      const found = readAttestation(body, policy.signers);
      const added = await recordImageCommits(deps.pool, found);
      return reply.code(201).send({
        items: found.map(({ imageDigest, repository, sha, signer }) => ({
          image: imageDigest,
          repository,
          sha,
          signer,
        })),
        added,
      });
    },
  );
}
