import { createHash, X509Certificate } from 'node:crypto';
import { type Static, Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { newSecret } from '../../store/api-tokens.js';
import { setProbes } from '../../store/completeness/probes.js';
import {
  disableSource,
  findSources,
  rotateCredential,
  type SourceItem,
} from '../../store/queries/sources.js';
import { createSource } from '../../store/sources.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import type { ApiDeps } from '../deps.js';
import { ProbeSchemas, Probes, probesItem, readProbes } from '../source-probes.js';
import { inUtc } from '../times.js';

/** A source that has been quiet for this long is called silent; an idle apiserver still renews its leases every few seconds. */
const SILENT_SECONDS = 300;
const CERTIFICATE_DAYS = 365;
const MAX_OVERLAP_SECONDS = 30 * 86_400;

export const Name = Type.String({
  pattern: '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$',
  description: 'lower-case letters, digits, - and .',
});
const Time = Type.Union([Type.String(), Type.Null()]);
export const Source = Type.Object({
  name: Type.String(),
  cluster: Type.String(),
  kind: Type.String(),
  createdAt: Type.String(),
  disabledAt: Time,
  credentials: Type.Array(
    Type.Object({
      id: Type.Integer(),
      kind: words(['token', 'client_cert']),
      createdAt: Type.String(),
      expiresAt: Time,
      revokedAt: Time,
    }),
  ),
  health: Type.Object({
    state: words(['ok', 'silent', 'never', 'disabled']),
    lastReceivedAt: Time,
    lastEventAt: Time,
    lagSeconds: Type.Union([Type.Number(), Type.Null()], {
      description: 'between an event and its arrival, at the last batch',
    }),
    events: Type.Integer(),
    duplicates: Type.Integer(),
    quarantined: Type.Integer(),
    batches: Type.Integer(),
    openGaps: Type.Integer({ description: 'GET /v1/gaps' }),
  }),
  ...ProbeSchemas,
});
const CredentialKind = words(['token', 'client_cert']);
const Issued = Type.Object({
  source: Source,
  kubeconfig: Type.String({ description: 'for --audit-webhook-config-file; shown this once' }),
  token: Type.Optional(Type.String({ description: 'shown this once' })),
});

export function sourceItem(row: SourceItem): Static<typeof Source> {
  const state =
    row.disabled_at !== null
      ? 'disabled'
      : row.last_received_at === null
        ? 'never'
        : row.silent_seconds! > SILENT_SECONDS
          ? 'silent'
          : 'ok';
  return {
    name: row.name,
    cluster: row.cluster,
    kind: row.kind,
    createdAt: row.created_at,
    disabledAt: row.disabled_at,
    credentials: row.credentials.map((item) => ({
      id: item.id,
      kind: item.kind,
      createdAt: inUtc(item.created_at)!,
      expiresAt: inUtc(item.expires_at),
      revokedAt: inUtc(item.revoked_at),
    })),
    health: {
      state,
      lastReceivedAt: row.last_received_at,
      lastEventAt: row.last_event_at,
      lagSeconds: row.lag_seconds,
      events: Number(row.events),
      duplicates: Number(row.duplicates),
      quarantined: Number(row.quarantined),
      batches: Number(row.batches),
      openGaps: row.open_gaps,
    },
    ...probesItem(row.probes),
  };
}

const TAGS = ['sources'];

/** @throws WhochangedError `not_found` */
export async function findSource(db: ApiDeps['db'], name: string): Promise<SourceItem> {
  const [row] = await findSources(db, name);
  if (!row)
    throw new WhochangedError('not_found', `no source is called "${name}"`, {
      hint: 'see `whochanged source list`',
    });
  return row;
}

export function sourceRoutes({ server, deps, auth }: Api): void {
  const find = (name: string) => findSource(deps.db, name);
  /** A new secret of either kind, with the kubeconfig that carries it. */
  const issue = async (name: string, kind: 'token' | 'client_cert') => {
    if (kind === 'token') {
      const { secret, sha256 } = newSecret('wcs');
      return { sha256, kubeconfig: deps.kubeconfig(name, { token: secret }), token: secret };
    }
    const clientCertificate = await deps.issueClientCertificate(name, CERTIFICATE_DAYS);
    const der = new X509Certificate(clientCertificate.certificatePem).raw;
    return {
      sha256: createHash('sha256').update(der).digest(),
      kubeconfig: deps.kubeconfig(name, { clientCertificate }),
    };
  };

  server.get(
    '/v1/sources',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Sources and their health',
        response: { 200: Type.Object({ items: Type.Array(Source) }) },
      },
    },
    async () => ({
      items: (await findSources(deps.db)).map(sourceItem),
    }),
  );

  const Create = Type.Object({ name: Name, cluster: Name, kind: Type.Optional(CredentialKind) });
  server.post(
    '/v1/sources',
    {
      onRequest: auth.require('operator'),
      schema: { tags: TAGS, summary: 'Add an apiserver', body: Create, response: { 201: Issued } },
    },
    async ({ body }, reply) => {
      const { sha256, kubeconfig, ...secret } = await issue(body.name, body.kind ?? 'token');
      const client = await deps.pool.connect();
      try {
        await client.query('begin');
        await createSource(client, {
          name: body.name,
          cluster: body.cluster,
          secretSha256: sha256,
          kind: body.kind ?? 'token',
        });
        await client.query('commit');
      } catch (error) {
        await client.query('rollback');
        if ((error as { code?: string }).code === '23505')
          throw new WhochangedError('conflict', `a source called "${body.name}" is there already`, {
            hint: 'rotate its credential, or choose another name',
          });
        throw error;
      } finally {
        client.release();
      }
      await deps.sourcesChanged();
      return reply.code(201).send({ source: sourceItem(await find(body.name)), kubeconfig, ...secret });
    },
  );

  const Params = Type.Object({ name: Name });
  const Rotate = Type.Object({
    kind: Type.Optional(CredentialKind),
    overlapSeconds: Type.Optional(
      Type.Integer({ minimum: 0, maximum: MAX_OVERLAP_SECONDS, default: 86_400 }),
    ),
  });
  server.post(
    '/v1/sources/:name/rotate',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'A new credential; the old ones stay valid for the overlap',
        params: Params,
        body: Rotate,
        response: { 200: Issued },
      },
    },
    async ({ params, body }) => {
      const row = await find(params.name);
      if (row.kind !== 'webhook')
        throw new WhochangedError('conflict', `"${row.name}" posts nothing, so it has no credential here`, {
          hint: 'whochanged finds its own for S3 where it runs, see docs/s3.md',
        });
      const kind = body.kind ?? 'token';
      const { sha256, kubeconfig, ...secret } = await issue(row.name, kind);
      await rotateCredential(deps.db, row.id, { kind, sha256 }, body.overlapSeconds ?? 86_400);
      await deps.sourcesChanged();
      return { source: sourceItem(await find(row.name)), kubeconfig, ...secret };
    },
  );

  server.post(
    '/v1/sources/:name/disable',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Take no more events from it',
        params: Params,
        response: { 200: Source },
      },
    },
    async ({ params }) => {
      await disableSource(deps.db, (await find(params.name)).id);
      await deps.sourcesChanged();
      return sourceItem(await find(params.name));
    },
  );

  // An admin's business: whoever sets the URL decides where the credential is sent.
  server.put(
    '/v1/sources/:name/probes',
    {
      onRequest: auth.require('admin'),
      schema: {
        tags: TAGS,
        summary: 'How to ask the apiserver what it has told; null ends it, what is left out stays',
        params: Params,
        body: Probes,
        response: { 200: Source },
      },
    },
    async ({ params, body }) => {
      const { id } = await find(params.name);
      await setProbes(deps.db, id, readProbes(body));
      return sourceItem(await find(params.name));
    },
  );
}
