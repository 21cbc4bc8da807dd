import { createPublicKey, verify } from 'node:crypto';
import { sha256 } from '../canonical.js';
import { isJsonObject } from '../classify.js';
import { WhochangedError } from '../errors.js';
import { field, text } from '../links/json-field.js';
import { isSha } from '../links/link.js';
import type { Signer } from '../verdict/policy.js';
import { matchesAny } from '../verdict/policy-match.js';

const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const PROVENANCE = /^https:\/\/slsa\.dev\/provenance\/v(0\.\d|1)(\.\d+)?$/;

/** That an image was built from a commit, as a signer of the policy says. */
export interface ImageCommit {
  /** `sha256:...` */
  imageDigest: string;
  repository: string;
  sha: string;
  signer: string;
  predicateType: string;
  builder: string | undefined;
  /** SHA-256 of the signed payload, hex. */
  statementDigest: string;
}

/**
 * Reads SLSA provenance (v0.1, v0.2, v1) in a DSSE envelope (in-toto) whose Ed25519 signature is one of the policy's
 * signers'. Sources: secure-systems-lab/dsse protocol.md, slsa.dev/spec/v1.0/provenance.
 * @throws WhochangedError `invalid_request` saying what is wrong with it
 */
export function readAttestation(envelope: unknown, signers: readonly Signer[]): ImageCommit[] {
  const payload = text(field(envelope as never, 'payload'));
  const signatures = field(envelope as never, 'signatures');
  if (payload === undefined || !Array.isArray(signatures))
    throw wrong('it is no DSSE envelope', 'send {payloadType, payload, signatures} as cosign writes it');
  const type = text(field(envelope as never, 'payloadType')) ?? '';
  if (type !== PAYLOAD_TYPE) throw wrong(`payloadType must be ${PAYLOAD_TYPE}`);
  const body = Buffer.from(payload, 'base64');
  const signer = signers.find((one) =>
    signatures.some((item) => isSignedBy(one, type, body, text(field(item, 'sig')) ?? '')),
  );
  if (!signer)
    throw wrong(
      'no signer of the policy signed it',
      signers.length === 0
        ? 'the policy has no signers: name them, with their Ed25519 keys'
        : `the policy's signers are ${signers.map(({ name }) => name).join(', ')}`,
    );
  let statement: unknown;
  try {
    statement = JSON.parse(body.toString('utf8'));
  } catch {
    throw wrong('its payload is no JSON');
  }
  const predicateType = text(field(statement as never, 'predicateType')) ?? '';
  if (!PROVENANCE.test(predicateType)) throw wrong('it is no SLSA provenance', 'predicateType tells');
  const images = listOf(field(statement as never, 'subject')).flatMap((subject) => {
    const hex = text(field(subject as never, 'digest', 'sha256'));
    return hex !== undefined && /^[0-9a-f]{64}$/.test(hex) ? [`sha256:${hex}`] : [];
  });
  if (images.length === 0) throw wrong('its subject names no image by sha256');
  const commits = materialsOf(statement).filter(({ repository }) =>
    matchesAny(signer.repositories, repository),
  );
  if (commits.length === 0)
    throw wrong(`it names no commit of a repository that ${signer.name} may sign for`);
  const builder =
    text(field(statement as never, 'predicate', 'runDetails', 'builder', 'id')) ??
    text(field(statement as never, 'predicate', 'builder', 'id'));
  const statementDigest = sha256(body).toString('hex');
  return images.flatMap((imageDigest) =>
    commits.map((commit) => ({
      imageDigest,
      ...commit,
      signer: signer.name,
      predicateType,
      builder,
      statementDigest,
    })),
  );
}

/** DSSE's pre-authentication encoding: lengths of bytes, so that type and body can't run into each other. */
function isSignedBy(signer: Signer, type: string, body: Buffer, signature: string): boolean {
  const encoded = Buffer.concat([
    Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${body.length} `),
    body,
  ]);
  try {
    return verify(null, encoded, createPublicKey(signer.publicKey), Buffer.from(signature, 'base64'));
  } catch {
    return false;
  }
}

/** `git+https://host/owner/name@refs/heads/main` with a commit's digest: `gitCommit` in v1, `sha1` before. */
function materialsOf(statement: unknown): Array<{ repository: string; sha: string }> {
  const inputs = [
    ...listOf(field(statement as never, 'predicate', 'buildDefinition', 'resolvedDependencies')),
    ...listOf(field(statement as never, 'predicate', 'materials')),
  ];
  return inputs.flatMap((input) => {
    const uri = text(field(input as never, 'uri'));
    const sha =
      text(field(input as never, 'digest', 'gitCommit')) ?? text(field(input as never, 'digest', 'sha1'));
    if (uri === undefined || !/^git\+/.test(uri) || sha === undefined || !isSha(sha)) return [];
    return [{ repository: uri.replace(/^git\+/, '').replace(/@[^/@]*(\/[^@]*)?$/, ''), sha }];
  });
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value.filter((item) => isJsonObject(item as never)) : [];
}

function wrong(what: string, hint?: string): WhochangedError {
  return new WhochangedError('invalid_request', `the attestation: ${what}`, hint ? { hint } : {});
}
