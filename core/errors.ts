/**
 * The one error family. Each code maps to one problem+json type (RFC 9457); `detail` says what is wrong and where,
 * `hint` says what to do. Neither may hold a value taken from an object's body.
 */
export const ERROR_STATUS = {
  invalid_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  internal: 500,
  overloaded: 503,
  store_unavailable: 503,
  identity_unavailable: 503,
  archive_loading: 503,
  archive_unavailable: 503,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

export class WhochangedError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /** Seconds after which a retry may succeed; sent as Retry-After. */
  readonly retryAfter: number | undefined;

  constructor(
    code: ErrorCode,
    detail: string,
    options: { hint?: string; retryAfter?: number; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'WhochangedError';
    this.code = code;
    this.hint = options.hint;
    this.retryAfter = options.retryAfter;
  }

  get status(): number {
    return ERROR_STATUS[this.code];
  }
}
