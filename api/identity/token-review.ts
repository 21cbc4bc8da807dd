import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Subjects } from '../../core/access/access-file.js';
import type { Grant } from '../../core/access/grants.js';
import { WhochangedError } from '../../core/errors.js';
import { RecentMap } from '../../core/recent.js';
import type { Authenticator } from '../auth.js';
import { askHttps } from './https-json.js';
import { isName, namesOf } from './names.js';

export interface TokenReviewOptions {
  /** Base URL of the apiserver. */
  url: string;
  /** A token must be for one of these. */
  audiences: string[];
  /** Holds the token by which we may ask (RBAC: system:auth-delegator); read anew for each question, since it rotates. */
  tokenFile: string;
  ca: () => string | undefined;
  grantsOf: (subjects: Subjects) => Grant[];
}

/** The parts of authentication.k8s.io/v1 TokenReviewStatus that are used. */
interface ReviewStatus {
  authenticated?: unknown;
  audiences?: unknown;
  user?: { username?: unknown; groups?: unknown };
}

interface Reviewed {
  /** Undefined: the apiserver doesn't know the token. */
  user: { name: string; groups: string[] } | undefined;
  at: number;
}

/** For so long a token that was deleted is believed; the apiserver's own cache is of 10 s too. */
const CACHE_MS = 10_000;
const CACHED = 1000;
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Knows bearers of tokens of a Kubernetes cluster, by asking its apiserver (authentication.k8s.io/v1 TokenReview). */
export function tokenReviewAuthenticator(options: TokenReviewOptions): Authenticator {
  const reviewed = new RecentMap<string, Reviewed>(CACHED);
  return async (_request, token) => {
    // Tokens of ours are nobody else's to see.
    if (token === undefined || !JWT.test(token)) return undefined;
    const key = createHash('sha256').update(token).digest('base64');
    let known = reviewed.get(key);
    if (!known || Date.now() - known.at > CACHE_MS) {
      known = { user: await review(token, options), at: Date.now() };
      reviewed.set(key, known);
    }
    if (!known.user)
      throw new WhochangedError(
        'unauthenticated',
        'the apiserver does not know this token, or not for this audience',
        {
          hint: `kubectl create token NAME --audience ${options.audiences[0]}`,
        },
      );
    const { name, groups } = known.user;
    return {
      name,
      kind: name.startsWith('system:serviceaccount:') ? 'service_account' : 'kubernetes_user',
      groups,
      grants: options.grantsOf({ kubernetesUsers: [name], kubernetesGroups: groups }),
      expiresAt: undefined,
      tokenID: undefined,
    };
  };
}

async function review(
  token: string,
  { url, audiences, tokenFile, ca }: TokenReviewOptions,
): Promise<Reviewed['user']> {
  let status: ReviewStatus | undefined;
  try {
    const own = (await readFile(tokenFile, 'utf8')).trim();
    const answer = await askHttps(new URL('/apis/authentication.k8s.io/v1/tokenreviews', url), {
      method: 'POST',
      headers: { authorization: `Bearer ${own}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences },
      }),
      ca: ca(),
    });
    if (answer.status !== 201 && answer.status !== 200)
      throw new Error(`the apiserver answered ${answer.status}`);
    status = (JSON.parse(answer.text) as { status?: ReviewStatus }).status;
  } catch (cause) {
    throw new WhochangedError(
      'identity_unavailable',
      'the apiserver can\u2019t be asked about the token, so it can\u2019t be checked',
      { hint: 'try again; tokens made by `whochanged token create` work meanwhile', retryAfter: 10, cause },
    );
  }
  if (status?.authenticated !== true || !isName(status.user?.username)) return undefined;
  // An authenticator that knows of no audiences leaves them out: the token may be for anybody, and is not accepted.
  if (!namesOf(status.audiences).some((audience) => audiences.includes(audience))) return undefined;
  return { name: status.user.username, groups: namesOf(status.user.groups) };
}
