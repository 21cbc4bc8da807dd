import { type DestinationStream, type Logger, pino } from 'pino';

/** Where secrets would stand, should an object that holds one ever be logged. */
const SECRET_PATHS = [
  'authorization', '*.authorization', 'headers.authorization', 'req.headers.authorization', 'req.headers.cookie', 'cookie',
  'token', '*.token', 'password', '*.password', 'secret', '*.secret', 'databaseURL', '*.databaseURL', 'connectionString',
  '*.connectionString', 'key', '*.key', 'kubeconfig', '*.kubeconfig',
  // pg puts row values into these fields of its errors.
  'err.detail', 'err.where', 'err.query', 'err.parameters',
];

/** Structured logs on stderr; stdout belongs to what a person asked for. */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    redact: { paths: SECRET_PATHS, censor: '[redacted]' },
    base: { name: 'whochanged' },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return pino(options, destination ?? pino.destination({ dest: 2, sync: true }));
}
