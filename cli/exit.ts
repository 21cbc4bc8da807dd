/** Exit codes that scripts can rely on; docs/cli.md lists them. */
export const EXIT = {
  ok: 0,
  found: 0,
  nothing: 1,
  usage: 2,
  auth: 3,
  notFound: 4,
  failed: 5,
  unknown: 6,
} as const;

/** An error for the person at the terminal: what is wrong, and what to do. */
export class CliError extends Error {
  readonly exitCode: number;
  readonly hint: string | undefined;
  /** The server says that it is worth to ask again after so many seconds (Retry-After). */
  readonly retryAfter: number | undefined;

  constructor(exitCode: number, message: string, hint?: string, retryAfter?: number) {
    super(message);
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.hint = hint;
    this.retryAfter = retryAfter;
  }
}
