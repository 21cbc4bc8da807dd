import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Subjects } from '../../core/access/access-file.js';
import type { Grant } from '../../core/access/grants.js';
import { WhochangedError } from '../../core/errors.js';
import type { Authenticator } from '../auth.js';
import { isName, namesOf } from './names.js';

/** RFC 5280, section 4.2.1.12: id-kp-clientAuth. */
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/**
 * Knows clients by TLS certificates, as kube-apiserver's --client-ca-file does: the common name is the user, the
 * organizations are groups. The certificate must be issued by a CA of the file itself: chains are not built. A bearer
 * token wins over a certificate.
 *
 * OpenSSL isn't given the file: it would name these CAs to every client, and an apiserver whose certificate is pinned for
 * the receiver (ingest/webhook/source-registry.ts) would then send none.
 */
export function clientCertificateAuthenticator(options: {
  authorities: () => readonly X509Certificate[];
  grantsOf: (subjects: Subjects) => Grant[];
}): Authenticator {
  return async (request, token) => {
    const socket = request.raw.socket as Partial<TLSSocket>;
    const certificate = token === undefined ? socket.getPeerX509Certificate?.() : undefined;
    if (!certificate) return undefined;
    const reason = reasonAgainst(certificate, options.authorities(), Date.now());
    if (reason !== undefined) throw notValid(reason);
    const { CN, O } = certificate.toLegacyObject().subject as unknown as Record<string, unknown>;
    if (!isName(CN)) throw notValid('it has no common name, or several');
    const organizations = namesOf(O);
    return {
      name: CN,
      kind: 'client_cert',
      groups: organizations,
      grants: options.grantsOf({ certificates: [CN], certificateOrganizations: organizations }),
      expiresAt: Date.parse(certificate.validTo),
      tokenID: undefined,
    };
  };
}

function reasonAgainst(
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
  now: number,
): string | undefined {
  const issuer = authorities.find(
    (authority) => certificate.checkIssued(authority) && certificate.verify(authority.publicKey),
  );
  if (!issuer) return 'no CA of WHOCHANGED_CLIENT_CA_FILE has issued it';
  if (!isInTime(certificate, now)) return 'it is not valid now';
  if (!isInTime(issuer, now)) return 'the CA that issued it is not valid now';
  if (certificate.ca) return 'it is a CA\u2019s own';
  // `keyUsage` is what Node calls the extended key usage.
  if (!certificate.keyUsage?.includes(CLIENT_AUTH))
    return 'it is not for clients (extended key usage clientAuth)';
  return undefined;
}

function isInTime(certificate: X509Certificate, now: number): boolean {
  return Date.parse(certificate.validFrom) <= now && now < Date.parse(certificate.validTo);
}

function notValid(reason: string): WhochangedError {
  return new WhochangedError('unauthenticated', `the client certificate is not accepted: ${reason}`, {
    hint: 'present one of your client CA, or send Authorization: Bearer TOKEN',
  });
}

/**
 * The certificates of a PEM file.
 * @throws WhochangedError `invalid_request` where there is none, or one is no CA's
 */
export function readAuthorities(pem: string, origin: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  const invalid = (problem: string) =>
    new WhochangedError('invalid_request', `${origin}: ${problem}`, {
      hint: 'the file holds the CA that issues your client certificates, in PEM; several may follow one another',
    });
  if (blocks.length === 0) throw invalid('it holds no certificate in PEM form');
  return blocks.map((block, i) => {
    let authority: X509Certificate;
    try {
      authority = new X509Certificate(block);
    } catch {
      throw invalid(`certificate ${i + 1} can't be read`);
    }
    if (!authority.ca) throw invalid(`certificate ${i + 1} is not a CA's`);
    return authority;
  });
}
