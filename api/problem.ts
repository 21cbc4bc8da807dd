import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_STATUS, type ErrorCode, WhochangedError } from '../core/errors.js';

/** RFC 9457. `code` is ours, for scripts; `hint` says what to do. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  hint?: string;
  instance: string;
}

const TITLES: Record<ErrorCode, string> = {
  invalid_request: 'Invalid request',
  unauthenticated: 'Not authenticated',
  forbidden: 'Not allowed',
  not_found: 'Not found',
  conflict: 'Conflict',
  payload_too_large: 'Body too large',
  unsupported_media_type: 'Unsupported media type',
  rate_limited: 'Too many requests',
  internal: 'Internal error',
  overloaded: 'Overloaded',
  store_unavailable: 'Store unavailable',
  identity_unavailable: 'Identity provider unavailable',
  archive_loading: 'Being read from the archive',
  archive_unavailable: 'Archive unavailable',
};

/** One place turns errors into answers. What went wrong inside is logged under the request's id, and not told. */
export function setProblemHandler(server: FastifyInstance): void {
  server.setErrorHandler((error: FastifyError, request, reply) =>
    sendProblem(request, reply, toWhochangedError(error), error),
  );
  server.setNotFoundHandler((request, reply) =>
    sendProblem(
      request,
      reply,
      new WhochangedError('not_found', `no such route: ${request.method} ${pathOf(request)}`, {
        hint: 'see /docs',
      }),
    ),
  );
}

/** What the router refuses before any route's hooks: an address that can't be decoded, or a part of it that is too long. */
export function sendRouterProblem(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const refused = new WhochangedError('invalid_request', `the address cannot be read: ${error.message}`, {
    hint: 'percent-encode UTF-8, and see /docs for what there is',
  });
  sendProblem(request, reply, refused, error);
}

/** For answers that no route's own headers (helmet) stand on. */
const BARE_HEADERS = {
  'content-security-policy': "default-src 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};

function sendProblem(
  request: FastifyRequest,
  reply: FastifyReply,
  error: WhochangedError,
  cause?: unknown,
): FastifyReply {
  if (!reply.hasHeader('content-security-policy')) reply.headers(BARE_HEADERS);
  if (error.status >= 500) request.log.error({ err: cause ?? error }, 'request failed');
  const problem: Problem = {
    type: `urn:whochanged:problem:${error.code}`,
    title: TITLES[error.code],
    status: error.status,
    code: error.code,
    detail: error.message,
    ...(error.hint !== undefined && { hint: error.hint }),
    instance: `urn:whochanged:request:${request.id}`,
  };
  if (error.retryAfter !== undefined) reply.header('retry-after', String(error.retryAfter));
  if (error.code === 'archive_loading') reply.header('whochanged-archived', 'loading');
  if (error.code === 'unauthenticated') reply.header('www-authenticate', 'Bearer realm="whochanged"');
  return reply.code(error.status).type('application/problem+json').send(problem);
}

function toWhochangedError(error: FastifyError): WhochangedError {
  if (error instanceof WhochangedError) return error;
  if (error.validation) {
    return new WhochangedError('invalid_request', validationDetail(error), {
      hint: 'see /docs for what this route takes',
    });
  }
  const status = error.statusCode ?? 500;
  const code = (Object.keys(ERROR_STATUS) as ErrorCode[]).find((known) => ERROR_STATUS[known] === status);
  if (status < 500 && code) return new WhochangedError(code, error.message);
  if (status < 500) return new WhochangedError('invalid_request', error.message);
  const state = (error as { code?: unknown }).code;
  // Postgres' text holds every character but one, and only what was asked can have brought it.
  if (state === NUL_IN_TEXT)
    return new WhochangedError(
      'invalid_request',
      'the request holds a NUL character, which no text may hold',
    );
  const away =
    typeof state === 'string' &&
    (/^(08|57P|53)/.test(state) || ['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'ETIMEDOUT'].includes(state));
  if (away)
    return new WhochangedError('store_unavailable', 'Postgres is away', {
      hint: 'try again; audit events are kept meanwhile',
      retryAfter: 5,
    });
  return new WhochangedError('internal', 'something went wrong here', {
    hint: 'look for the request id in the log',
  });
}

/** SQLSTATE character_not_in_repertoire. */
const NUL_IN_TEXT = '22021';

const PLACES: Record<string, string> = {
  querystring: 'query parameter',
  params: 'path parameter',
  headers: 'header',
  body: 'body',
};

/** What is wrong, and where: `query parameter kind: must be one of create, update, ...`. */
function validationDetail(error: FastifyError): string {
  const [first] = error.validation!;
  const place = PLACES[error.validationContext ?? ''] ?? 'request';
  const params = (first?.params ?? {}) as { allowedValues?: unknown[]; additionalProperty?: string };
  // A parameter that may be repeated is a list: its place in it says nothing.
  const path = (first?.instancePath ?? '').split('/').filter((part) => part !== '' && !/^\d+$/.test(part));
  const where = [place, path.join('.') || params.additionalProperty].filter(Boolean).join(' ');
  const wrong = params.allowedValues
    ? `must be one of ${params.allowedValues.join(', ')}`
    : first?.message === 'schema is false'
      ? 'this route knows no such parameter'
      : (first?.message ?? 'is not valid');
  return `${where}: ${wrong}`;
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?')[0]!.slice(0, 200);
}
