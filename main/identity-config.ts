import { OIDC_ALGORITHMS, type OidcOptions } from '../api/identity/oidc.js';
import type { VariableReader } from './variables.js';

/** How callers of the API are known, besides by tokens of our own. */
export interface IdentityConfig {
  /** Who may do what. */
  accessFile: string | undefined;
  /** With the CA by its file. */
  oidc: (Omit<OidcOptions, 'ca' | 'grantsOf'> & { caFile: string | undefined }) | undefined;
  clientCAFile: string | undefined;
  tokenReview:
    | { url: string; audiences: string[]; tokenFile: string; caFile: string | undefined }
    | undefined;
}

/** Where Kubernetes puts a pod's own token and its cluster's CA. */
const IN_CLUSTER = '/var/run/secrets/kubernetes.io/serviceaccount';

export function readIdentityConfig(reader: VariableReader, problems: string[]): IdentityConfig {
  const config: IdentityConfig = {
    accessFile: reader.file('WHOCHANGED_ACCESS_FILE'),
    oidc: readOidc(reader, problems),
    clientCAFile: reader.file('WHOCHANGED_CLIENT_CA_FILE'),
    tokenReview: readTokenReview(reader, problems),
  };
  const known = [
    config.oidc && 'WHOCHANGED_OIDC_ISSUER',
    config.clientCAFile && 'WHOCHANGED_CLIENT_CA_FILE',
    config.tokenReview && 'WHOCHANGED_TOKEN_REVIEW_URL',
  ].filter(Boolean);
  if (known.length > 0 && config.accessFile === undefined)
    problems.push(
      `WHOCHANGED_ACCESS_FILE: not set, so whoever is known by ${known.join(', ')} may do nothing; name a file, such as /etc/whochanged/access.yaml (docs/access.md)`,
    );
  return config;
}

function readOidc(reader: VariableReader, problems: string[]): IdentityConfig['oidc'] {
  const issuer = reader.url(
    'WHOCHANGED_OIDC_ISSUER',
    ['https:'],
    undefined,
    'https://login.example.com/realms/ops',
  );
  const audiences = reader.list('WHOCHANGED_OIDC_AUDIENCES');
  const rest = {
    algorithms: reader.words('WHOCHANGED_OIDC_ALGORITHMS', OIDC_ALGORITHMS, [
      'RS256',
      'PS256',
      'ES256',
      'EdDSA',
    ]),
    usernameClaim: reader.text('WHOCHANGED_OIDC_USERNAME_CLAIM', 'sub'),
    groupsClaim: reader.text('WHOCHANGED_OIDC_GROUPS_CLAIM', 'groups'),
    clockSkewSeconds: reader.integer('WHOCHANGED_OIDC_CLOCK_SKEW_SECONDS', 30, 0, 300),
    caFile: reader.file('WHOCHANGED_OIDC_CA_FILE'),
  };
  if (issuer === undefined) return undefined;
  if (audiences.length === 0)
    problems.push(
      'WHOCHANGED_OIDC_AUDIENCES: not set; name the client id that tokens must be for, such as whochanged, or any token of the issuer would do',
    );
  return { issuer, audiences, ...rest };
}

function readTokenReview(reader: VariableReader, problems: string[]): IdentityConfig['tokenReview'] {
  const url = reader.url(
    'WHOCHANGED_TOKEN_REVIEW_URL',
    ['https:'],
    undefined,
    'https://kubernetes.default.svc',
  );
  const audiences = reader.list('WHOCHANGED_TOKEN_REVIEW_AUDIENCES');
  const tokenFile = reader.file('WHOCHANGED_TOKEN_REVIEW_TOKEN_FILE');
  const caFile = reader.file('WHOCHANGED_TOKEN_REVIEW_CA_FILE');
  if (url === undefined) return undefined;
  if (audiences.length === 0)
    problems.push(
      'WHOCHANGED_TOKEN_REVIEW_AUDIENCES: not set; name the audience that tokens must be for, such as whochanged, or the token of any pod would do',
    );
  return {
    url,
    audiences,
    tokenFile: tokenFile ?? `${IN_CLUSTER}/token`,
    caFile: caFile ?? (tokenFile === undefined ? `${IN_CLUSTER}/ca.crt` : undefined),
  };
}
