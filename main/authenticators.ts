import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { Authenticator } from '../api/auth.js';
import { clientCertificateAuthenticator, readAuthorities } from '../api/identity/client-certificate.js';
import { oidcAuthenticator } from '../api/identity/oidc.js';
import { tokenReviewAuthenticator } from '../api/identity/token-review.js';
import { readYaml } from '../cli/yaml-file.js';
import { type AccessRule, grantsOf, type Subjects, validateAccessFile } from '../core/access/access-file.js';
import type { Grant } from '../core/access/grants.js';
import { WhochangedError } from '../core/errors.js';
import type { Config } from './config.js';
import { openReloaded } from './reloaded-file.js';

/**
 * The ways besides our own tokens by which callers are known, as they are configured. The access file and the client CAs
 * are read again when they change.
 * @throws WhochangedError `invalid_request` with every problem, where a file is not valid at the start
 */
export function authenticators({ identity }: Config, log: Logger): Authenticator[] {
  const { accessFile, oidc, clientCAFile, tokenReview } = identity;
  const rules = accessFile === undefined ? () => [] : openAccessFile(accessFile, log);
  const grants = (subjects: Subjects): Grant[] => grantsOf(rules(), subjects);
  const all: Authenticator[] = [];
  if (oidc) all.push(oidcAuthenticator({ ...oidc, ca: pemOf(oidc.caFile), grantsOf: grants }));
  if (tokenReview)
    all.push(tokenReviewAuthenticator({ ...tokenReview, ca: pemOf(tokenReview.caFile), grantsOf: grants }));
  if (clientCAFile !== undefined)
    all.push(
      clientCertificateAuthenticator({
        authorities: openReloaded(
          clientCAFile,
          (file) => readAuthorities(readFileSync(file, 'utf8'), `WHOCHANGED_CLIENT_CA_FILE ${file}`),
          {
            changed: (next) => log.info({ certificates: next.length }, 'the client CAs have changed'),
            invalid: (error) =>
              log.error({ err: error }, 'the client CA file is not valid; the last good one holds on'),
          },
        ),
        grantsOf: grants,
      }),
    );
  return all;
}

function openAccessFile(file: string, log: Logger): () => AccessRule[] {
  return openReloaded(file, readAccessFile, {
    changed: (next) => log.info({ grants: next.length }, 'the access file has changed'),
    invalid: (error) => log.error({ err: error }, 'the access file is not valid; the last good one holds on'),
  });
}

function readAccessFile(file: string): AccessRule[] {
  const { result, problems } = readYaml(readFileSync(file, 'utf8'), (value) => {
    const { rules, problems } = validateAccessFile(value);
    return { result: rules, problems };
  });
  if (result && problems.length === 0) return result;
  throw new WhochangedError(
    'invalid_request',
    `WHOCHANGED_ACCESS_FILE: ${file} can't be used:\n  ${problems.join('\n  ')}`,
    { hint: 'docs/access.md tells of every key' },
  );
}

/** Read for each use, since it may be replaced; few are. */
function pemOf(file: string | undefined): () => string | undefined {
  return () => (file === undefined ? undefined : readFileSync(file, 'utf8'));
}
