import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { WhochangedError } from '../../core/errors.js';
import type { HostDelivery } from '../../core/hosts/delivery.js';
import { githubDelivery } from '../../core/hosts/github-webhook.js';
import { gitlabDelivery } from '../../core/hosts/gitlab-webhook.js';
import {
  verifyGithubSignature,
  verifyGitlabToken,
  verifyStandardSignature,
} from '../../core/hosts/hook-signature.js';
import { applyDelivery, type DeliveryKey } from '../../store/facts/deliveries.js';
import { type Imported, importApprovals, importTickets } from '../../store/facts/imports.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { type HookResult, hookDeliveries } from '../hook-metrics.js';
import { IMPORT_BODY_BYTES, ImportedSchema, ItemsBody, TicketsBody, ticketShape } from '../import-schema.js';

/** GitHub sends up to 25 MB. */
const HOST_BODY_BYTES = 25 * 1024 * 1024;
const TAGS = ['hooks'];
const Result = Type.Object({ result: words(['taken', 'duplicate', 'ignored'] as const) });
const SenderResult = Type.Object({
  ...Result.properties,
  ...Type.Partial(ImportedSchema).properties,
});

/**
 * Webhooks: the signature over the raw body is the only credential. A delivery that comes again is answered as a
 * duplicate and changes nothing.
 */
export function hookRoutes({ server: api, deps }: Api): void {
  const deliveries = hookDeliveries(deps.registry);
  const count = (hook: string, result: HookResult) => deliveries.inc({ hook, result });

  /** @throws WhochangedError `unauthenticated`, or `not_found` where no secret is configured */
  const authenticate = (hook: string, secrets: readonly string[], verified: () => boolean) => {
    if (secrets.length === 0) {
      count('unknown', 'rejected');
      throw new WhochangedError('not_found', `no secret is configured for the webhook ${hook}`, {
        hint: 'put one into the file that WHOCHANGED_HOOKS_FILE names',
      });
    }
    if (verified()) return;
    count(hook, 'rejected');
    throw new WhochangedError('unauthenticated', `the signature of this delivery to ${hook} is not good`, {
      hint: 'compare the secret there with the file that WHOCHANGED_HOOKS_FILE names, and the clocks',
    });
  };

  void api.register(async (scope) => {
    const server = scope.withTypeProvider<never>() as unknown as typeof api;
    // A signature covers the body as it was sent.
    server.removeAllContentTypeParsers();
    server.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

    const takeHost = async (
      kind: 'github' | 'gitlab',
      key: Omit<DeliveryKey, 'scope'>,
      delivery: HostDelivery | undefined,
    ): Promise<Static<typeof Result>> => {
      const result = delivery
        ? await applyDelivery(deps.pool, kind, { scope: kind, ...key }, delivery, new Date())
        : 'ignored';
      count(kind, result);
      if (result === 'taken') deps.pokeJob('sync-hosts');
      return { result };
    };

    server.post(
      '/v1/hooks/github',
      {
        bodyLimit: HOST_BODY_BYTES,
        schema: {
          tags: TAGS,
          summary: "GitHub's webhooks, signed by X-Hub-Signature-256",
          security: [],
          response: { 200: Result },
        },
      },
      async (request) => {
        const secrets = deps.hookSecrets().github;
        const body = bodyOf(request);
        authenticate('github', secrets, () =>
          verifyGithubSignature(secrets, body, header(request, 'x-hub-signature-256')),
        );
        const event = header(request, 'x-github-event') ?? '';
        const delivery = githubDelivery(event, json(body), Date.now() * 1000);
        return takeHost(
          'github',
          { id: header(request, 'x-github-delivery') ?? digestOf(body), event },
          delivery,
        );
      },
    );

    server.post(
      '/v1/hooks/gitlab',
      {
        bodyLimit: HOST_BODY_BYTES,
        schema: {
          tags: TAGS,
          summary: "GitLab's webhooks, by their signature or X-Gitlab-Token",
          security: [],
          response: { 200: Result },
        },
      },
      async (request) => {
        const secrets = deps.hookSecrets().gitlab;
        const body = bodyOf(request);
        authenticate('gitlab', secrets, () =>
          // Where it is signed, the token, which anybody may have read on the way, is not enough.
          header(request, 'webhook-signature') === undefined
            ? verifyGitlabToken(secrets, header(request, 'x-gitlab-token'))
            : verifyStandard(secrets, request, body),
        );
        const id = header(request, 'webhook-id') ?? header(request, 'idempotency-key') ?? digestOf(body);
        const event = header(request, 'x-gitlab-event') ?? '';
        return takeHost('gitlab', { id, event }, gitlabDelivery(json(body), Date.now() * 1000));
      },
    );

    const Params = Type.Object({ sender: Type.String({ maxLength: 63 }) });
    /** A webhook of a configured sender; `take` gives undefined for a delivery that came before. */
    const senderRoute = <T extends TSchema>(
      word: 'approvals' | 'tickets',
      summary: string,
      shape: T,
      take: (sender: string, body: Static<T>, key: DeliveryKey) => Promise<Imported | undefined>,
    ) =>
      server.post(
        `/v1/hooks/senders/:sender/${word}`,
        {
          bodyLimit: IMPORT_BODY_BYTES,
          schema: { tags: TAGS, summary, params: Params, security: [], response: { 200: SenderResult } },
        },
        async (request: FastifyRequest, _reply: FastifyReply) => {
          const { sender } = request.params as Static<typeof Params>;
          const secrets = deps.hookSecrets().senders.get(sender) ?? [];
          const body = bodyOf(request);
          authenticate(sender, secrets, () => verifyStandard(secrets, request, body));
          const content = json(body);
          if (!Value.Check(shape, content)) {
            const [first] = Value.Errors(shape, content);
            throw new WhochangedError(
              'invalid_request',
              `body ${first?.instancePath ?? ''}: ${first?.message ?? 'is not valid'}`,
              { hint: 'see docs/hosts.md' },
            );
          }
          const key = { scope: `sender ${sender}`, id: header(request, 'webhook-id')!, event: word };
          const imported = await take(sender, content as Static<T>, key);
          count(sender, imported ? 'taken' : 'duplicate');
          return imported ? { result: 'taken' as const, ...imported } : { result: 'duplicate' as const };
        },
      );
    senderRoute('approvals', 'Approvals of another system, signed', ItemsBody, (sender, { items }, key) =>
      importApprovals(deps.pool, items, `webhook ${sender}`, key),
    );
    senderRoute('tickets', 'Change tickets, signed', TicketsBody, (_sender, body, key) =>
      importTickets(deps.pool, body.items, ticketShape(body), new Date(), key),
    );
  });
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' && value !== '' ? value.slice(0, 2000) : undefined;
}

function bodyOf(request: FastifyRequest): Buffer {
  return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
}

function digestOf(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex');
}

function verifyStandard(secrets: readonly string[], request: FastifyRequest, body: Buffer): boolean {
  return verifyStandardSignature(
    secrets,
    {
      id: header(request, 'webhook-id'),
      timestamp: header(request, 'webhook-timestamp'),
      signature: header(request, 'webhook-signature'),
    },
    body,
    Math.floor(Date.now() / 1000),
  );
}

/** @throws WhochangedError `invalid_request` */
function json(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new WhochangedError('invalid_request', 'the body is not JSON', {
      hint: 'set the content type of the webhook to application/json',
    });
  }
}
