import { type DestinationStream, type Logger, pino } from 'pino';

/** Where secrets would stand, should an object that holds one ever be logged. */
const SECRET_NAMES = [
  'authorization',
  'cookie',
  'token',
  'password',
  'secret',
  'databaseURL',
  'connectionString',
  'key',
  'keyPem',
  'kubeconfig',
];
const SECRET_PATHS = [
  ...SECRET_NAMES,
  ...SECRET_NAMES.map((name) => `*.${name}`),
  ...SECRET_NAMES.map((name) => `*.*.${name}`),
  '*["set-cookie"]',
  '*.*["set-cookie"]',
];
const MAX_CAUSES = 5;

/** Structured logs on stderr; stdout belongs to what a person asked for. */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    redact: { paths: SECRET_PATHS, censor: '[redacted]' },
    serializers: { err: describeError },
    base: { name: 'whochanged' },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return pino(options, destination ?? pino.destination({ dest: 2, sync: true }));
}

/**
 * What of an error is logged. Only these fields pass: pg puts rows' values into `detail`, `where` and others, and an
 * HTTP client puts the request with its headers beside them.
 */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : `not an Error: ${typeof error}`;
  const { code, constraint, hint } = error as { code?: unknown; constraint?: unknown; hint?: unknown };
  // pg's own hints speak of the statement; ours say what to do.
  const isOurs = error.name === 'WhochangedError';
  const inner =
    error instanceof AggregateError ? error.errors : error.cause === undefined ? [] : [error.cause];
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(typeof constraint === 'string' && { constraint }),
    ...(isOurs && typeof hint === 'string' && { hint }),
    stack: error.stack,
    ...(inner.length > 0 &&
      depth < MAX_CAUSES && { causes: inner.map((one) => describeError(one, depth + 1)) }),
  };
}
