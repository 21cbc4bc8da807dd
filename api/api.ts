import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import { recordAccess } from './access-log.js';
import { answerArchivedPeriods } from './archived-periods.js';
import type { Auth } from './auth.js';
import type { ApiDeps } from './deps.js';
import { serializerCompiler, validatorCompiler } from './lazy-compilers.js';
import { registerPage } from './page.js';
import { accessRoutes } from './routes/access.js';
import { accessEventRoutes } from './routes/access-events.js';
import { actorRoutes } from './routes/actors.js';
import { alertRuleRoutes } from './routes/alert-rules.js';
import { alertRoutes } from './routes/alerts.js';
import { approvalRoutes } from './routes/approvals.js';
import { backfillRoutes } from './routes/backfills.js';
import { oneChangeRoutes } from './routes/change.js';
import { changeRoutes } from './routes/changes.js';
import { commitRoutes } from './routes/commits.js';
import { completenessRoutes } from './routes/completeness.js';
import { driftRoutes } from './routes/drift.js';
import { erasureRoutes } from './routes/erasures.js';
import { eventRoutes } from './routes/events.js';
import { gateRoutes } from './routes/gate.js';
import { healthRoutes } from './routes/health.js';
import { holdRoutes } from './routes/holds.js';
import { hookRoutes } from './routes/hooks.js';
import { hostRoutes } from './routes/hosts.js';
import { importRoutes } from './routes/imports.js';
import { logRoutes } from './routes/log.js';
import { objectRoutes } from './routes/objects.js';
import { policyRoutes } from './routes/policy.js';
import { pullRequestRoutes } from './routes/pull-requests.js';
import { quarantineRoutes } from './routes/quarantine.js';
import { reportRoutes } from './routes/reports.js';
import { repoRoutes } from './routes/repos.js';
import { retentionRoutes } from './routes/retention.js';
import { s3SourceRoutes } from './routes/s3-sources.js';
import { sourceObjectRoutes } from './routes/source-objects.js';
import { sourceStatusRoutes } from './routes/source-status.js';
import { sourceRoutes } from './routes/sources.js';
import { ticketRoutes } from './routes/tickets.js';
import { tokenRoutes } from './routes/tokens.js';
import { verdictWeekRoutes } from './routes/verdict-weeks.js';
import { verdictRoutes } from './routes/verdicts.js';
import { verifyRoutes } from './routes/verify.js';
import { whoamiRoutes } from './routes/whoami.js';

/** What every route file is given. */
export interface Api {
  server: FastifyInstance<
    RawServerDefault,
    RawRequestDefaultExpression,
    RawReplyDefaultExpression,
    FastifyBaseLogger,
    TypeBoxTypeProvider
  >;
  deps: ApiDeps;
  auth: Auth;
}

/**
 * Registers the API: routes whose schemas validate, type and document them, the document itself, and the page. Without
 * the role `api` only what an operator asks of each process.
 */
export async function registerApi(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  if (deps.roles.includes('api')) await registerPage(root, deps.pageFolder);
  await root.register(async (scope) => {
    const server = scope.withTypeProvider<TypeBoxTypeProvider>();
    server.setValidatorCompiler(validatorCompiler);
    server.setSerializerCompiler(serializerCompiler);
    server.decorateRequest('caller', undefined);
    recordAccess(server as unknown as FastifyInstance, deps.pool);
    answerArchivedPeriods(server as unknown as FastifyInstance, deps);
    // A filter that is misspelled and silently ignored would give a wrong answer.
    server.addHook('onRoute', ({ schema }) => {
      const query = schema?.querystring as { type?: string; additionalProperties?: boolean } | undefined;
      if (query?.type === 'object') query.additionalProperties = false;
    });
    await server.register(helmet, {
      contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': null } },
    });
    await server.register(rateLimit, {
      max: deps.limits.requestsPerMinute,
      timeWindow: '1 minute',
      // Runs behind a route's own hook, so that the caller is known; routes without one are counted by address.
      keyGenerator: ({ caller, ip }) =>
        caller ? `${caller.kind} ${caller.tokenID ?? caller.name}` : `address ${ip}`,
      allowList: (request) => request.url === '/healthz' || request.url === '/readyz',
    });
    server.decorate(
      'failedLogins',
      server.createRateLimit({
        max: deps.limits.failedLoginsPerMinute,
        timeWindow: '1 minute',
        keyGenerator: ({ ip }) => ip,
      }),
    );
    await server.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'whochanged',
          version: deps.version,
          description: 'Who changed what in your Kubernetes clusters, when and how.',
        },
        components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
        security: [{ token: [] }],
      },
    });
    await server.register(swaggerUi, { routePrefix: '/docs' });
    server.get('/openapi.json', { schema: { hide: true } }, async () => server.swagger());
    const api: Api = { server, deps, auth: deps.auth };
    healthRoutes(api);
    // Whatever a process does, its health and its metrics are asked of it.
    if (!deps.roles.includes('api')) return;
    changeRoutes(api);
    oneChangeRoutes(api);
    objectRoutes(api);
    actorRoutes(api);
    accessRoutes(api);
    accessEventRoutes(api);
    eventRoutes(api);
    completenessRoutes(api);
    logRoutes(api);
    policyRoutes(api);
    quarantineRoutes(api);
    reportRoutes(api);
    sourceRoutes(api);
    s3SourceRoutes(api);
    sourceStatusRoutes(api);
    sourceObjectRoutes(api);
    backfillRoutes(api);
    await importRoutes(api);
    tokenRoutes(api);
    repoRoutes(api);
    commitRoutes(api);
    whoamiRoutes(api);
    pullRequestRoutes(api);
    approvalRoutes(api);
    ticketRoutes(api);
    hostRoutes(api);
    holdRoutes(api);
    erasureRoutes(api);
    retentionRoutes(api);
    hookRoutes(api);
    verifyRoutes(api);
    gateRoutes(api);
    verdictRoutes(api);
    verdictWeekRoutes(api);
    driftRoutes(api);
    alertRoutes(api);
    alertRuleRoutes(api);
  });
}
