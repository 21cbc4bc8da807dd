import { createRemoteJWKSet, customFetch, decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import type { Subjects } from '../../core/access/access-file.js';
import type { Grant } from '../../core/access/grants.js';
import { WhochangedError } from '../../core/errors.js';
import type { Authenticator } from '../auth.js';
import { askHttps } from './https-json.js';
import { isName, namesOf } from './names.js';

/** Asymmetric ones only: with a shared secret, whoever can check a token could make one. */
export const OIDC_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;

export interface OidcOptions {
  /** As it stands in tokens; its keys are found by OpenID Connect Discovery below it. */
  issuer: string;
  /** A token must be for one of these. */
  audiences: string[];
  algorithms: string[];
  usernameClaim: string;
  groupsClaim: string;
  clockSkewSeconds: number;
  /** PEM of the issuer's CA; undefined: the system's. */
  ca: () => string | undefined;
  grantsOf: (subjects: Subjects) => Grant[];
}

const REDISCOVER_MS = 60 * 60_000;
const RETRY_MS = 2000;
/** Keys that the issuer has withdrawn are believed for this long at most. */
const KEYS_MAX_AGE_MS = 10 * 60_000;
/** A token signed by a key that isn't known makes the keys be fetched again, but not more often than this. */
const KEYS_COOLDOWN_MS = 5000;
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

type KeySet = ReturnType<typeof createRemoteJWKSet>;

/**
 * Knows bearers of JWTs of one OIDC issuer (OpenID Connect Core 1.0, section 3.1.3.7; RFC 7519). Tokens of other issuers
 * are left to other authenticators.
 */
export function oidcAuthenticator(options: OidcOptions): Authenticator {
  const keys = issuerKeys(options);
  return async (_request, token) => {
    if (token === undefined || !JWT.test(token) || issuerOf(token) !== options.issuer) return undefined;
    let payload: JWTPayload;
    try {
      const verified = await jwtVerify(token, await keys(), {
        issuer: options.issuer,
        audience: options.audiences,
        algorithms: options.algorithms,
        clockTolerance: options.clockSkewSeconds,
        requiredClaims: ['exp', 'sub'],
      });
      payload = verified.payload;
    } catch (error) {
      throw refusal(error);
    }
    const name = payload[options.usernameClaim];
    if (!isName(name)) throw notValid(`its claim ${options.usernameClaim} is missing, or is no name`);
    // The rule of kube-apiserver's --oidc-username-claim: whoever may write any address into a profile is not its owner.
    if (options.usernameClaim === 'email' && payload.email_verified !== true)
      throw notValid('the issuer does not say that its e-mail address is verified');
    const groups = namesOf(payload[options.groupsClaim]);
    return {
      name,
      kind: 'oidc',
      groups,
      grants: options.grantsOf({ oidcUsers: [name], oidcGroups: groups }),
      expiresAt: payload.exp! * 1000,
      tokenID: undefined,
    };
  };
}

function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}

/** The issuer's keys, by discovery, which is repeated hourly; while that fails, what was found before is used. */
function issuerKeys({ issuer, ca }: OidcOptions): () => Promise<KeySet> {
  let found: { url: string; keys: KeySet } | undefined;
  let nextAt = 0;
  let failure: unknown;
  let running: Promise<void> | undefined;
  const discover = async () => {
    try {
      const url = await findKeysURL(issuer, ca());
      if (url.href !== found?.url) found = { url: url.href, keys: remoteKeys(url, ca) };
      failure = undefined;
      nextAt = Date.now() + REDISCOVER_MS;
    } catch (error) {
      failure = error;
      nextAt = Date.now() + RETRY_MS;
    }
  };
  return async () => {
    if (Date.now() >= nextAt) {
      running ??= discover().finally(() => {
        running = undefined;
      });
      await running;
    }
    if (!found) throw failure;
    return found.keys;
  };
}

/** OpenID Connect Discovery 1.0, section 4: the document must name the very issuer that was asked. */
async function findKeysURL(issuer: string, ca: string | undefined): Promise<URL> {
  const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  const { status, text } = await askHttps(url, { ca });
  if (status !== 200) throw new Error(`${url.href} answered ${status}`);
  const document = JSON.parse(text) as { issuer?: unknown; jwks_uri?: unknown };
  if (document.issuer !== issuer)
    throw new Error(
      `${url.href} is the document of another issuer; WHOCHANGED_OIDC_ISSUER must be the same text`,
    );
  if (typeof document.jwks_uri !== 'string' || !URL.canParse(document.jwks_uri))
    throw new Error(`${url.href} has no jwks_uri`);
  const keys = new URL(document.jwks_uri);
  if (keys.protocol !== 'https:') throw new Error(`the jwks_uri of ${url.href} is not https`);
  return keys;
}

function remoteKeys(url: URL, ca: () => string | undefined): KeySet {
  return createRemoteJWKSet(url, {
    cacheMaxAge: KEYS_MAX_AGE_MS,
    cooldownDuration: KEYS_COOLDOWN_MS,
    [customFetch]: async (href: string) => {
      const { status, text } = await askHttps(new URL(href), { ca: ca() });
      return new Response(text, { status });
    },
  });
}

const REASONS: ReadonlyArray<[new (...args: never[]) => Error, string]> = [
  [errors.JWTExpired, 'it has expired'],
  [errors.JOSEAlgNotAllowed, 'it is signed by an algorithm that is not allowed here'],
  [errors.JWSSignatureVerificationFailed, 'its signature is not the issuer\u2019s'],
  [errors.JWKSNoMatchingKey, 'it is signed by no key of the issuer'],
  [errors.JWKSMultipleMatchingKeys, 'it does not say which of the issuer\u2019s keys signed it'],
];

/** Whether the token is at fault, or the issuer out of reach: only the first is the caller's to mend. */
function refusal(error: unknown): unknown {
  for (const [type, reason] of REASONS) if (error instanceof type) return notValid(reason, error);
  if (error instanceof errors.JWTClaimValidationFailed)
    return notValid(`its claim ${error.claim} is not what it must be`, error);
  if (
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JOSENotSupported
  )
    return notValid('it is damaged', error);
  return new WhochangedError(
    'identity_unavailable',
    'the OIDC issuer can\u2019t be reached, so the token can\u2019t be checked',
    {
      hint: 'try again; tokens made by `whochanged token create` work meanwhile',
      retryAfter: 10,
      cause: error,
    },
  );
}

function notValid(reason: string, cause?: unknown): WhochangedError {
  return new WhochangedError('unauthenticated', `the OIDC token is not valid: ${reason}`, {
    hint: 'log in again at your identity provider, for the audience of this server',
    cause,
  });
}
