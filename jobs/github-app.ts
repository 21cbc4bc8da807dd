import { createPrivateKey, type KeyObject } from 'node:crypto';
import { SignJWT } from 'jose';
import { WhochangedError } from '../core/errors.js';
import type { Credential } from './credentials.js';

/** A token lives an hour; it is replaced this long before. */
const SPARE_MS = 5 * 60_000;
const ANSWER_MS = 30_000;
/** GitHub takes at most ten minutes, and clocks differ. */
const JWT_SECONDS = 540;

type App = Extract<Credential, { kind: 'github_app' }>;

/**
 * Tokens of GitHub App installations (GitHub REST, "Create an installation access token for an app"), kept until
 * shortly before they end.
 */
export class GitHubAppTokens {
  readonly #tokens = new Map<string, { token: string; until: number }>();

  /**
   * @param apiURL such as https://api.github.com
   * @throws WhochangedError `invalid_request` saying what GitHub refused, or what is wrong with the key
   */
  async token(app: App, apiURL: string): Promise<string> {
    const key = `${apiURL} ${app.appID} ${app.installationID}`;
    const known = this.#tokens.get(key);
    if (known && known.until - SPARE_MS > Date.now()) return known.token;
    const response = await fetch(
      `${apiURL.replace(/\/+$/, '')}/app/installations/${app.installationID}/access_tokens`,
      {
        method: 'POST',
        headers: {
          authorization: `Bearer ${await signedBy(app)}`,
          accept: 'application/vnd.github+json',
          'x-github-api-version': '2022-11-28',
          'user-agent': 'whochanged',
        },
        redirect: 'error',
        signal: AbortSignal.timeout(ANSWER_MS),
      },
    ).catch((error: Error) => {
      throw refused(
        app,
        `${apiURL} can't be reached: ${(error.cause as Error | undefined)?.message ?? error.message}`,
      );
    });
    if (response.status !== 201) throw refused(app, `${apiURL} answered ${response.status}`);
    const { token, expires_at: expiresAt } = (await response.json()) as {
      token?: string;
      expires_at?: string;
    };
    const until = Date.parse(expiresAt ?? '');
    if (typeof token !== 'string' || Number.isNaN(until))
      throw refused(app, `${apiURL} answered without a token`);
    this.#tokens.set(key, { token, until });
    return token;
  }
}

async function signedBy(app: App): Promise<string> {
  let key: KeyObject;
  try {
    key = createPrivateKey(app.privateKey);
  } catch {
    throw refused(app, 'its private_key is no private key in PEM');
  }
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({})
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
    .setIssuer(app.appID)
    .setIssuedAt(now - 60)
    .setExpirationTime(now + JWT_SECONDS)
    .sign(key);
}

function refused(app: App, what: string): WhochangedError {
  return new WhochangedError(
    'invalid_request',
    `GitHub App ${app.appID}, installation ${app.installationID}: ${what}`,
    {
      hint: 'look at the app_id, the installation_id and the private_key, and that the app is installed there',
    },
  );
}
