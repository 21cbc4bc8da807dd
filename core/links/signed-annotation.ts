import { createPublicKey, verify } from 'node:crypto';
import type { JsonObject } from '../audit-event.js';
import { canonicalJson, sha256 } from '../canonical.js';
import { isJsonObject } from '../classify.js';
import { matchesAny } from '../verdict/policy-match.js';
import type { LinkEvidence } from './evidence.js';
import { isSha, type Link, type Subject } from './link.js';

/** `REPOSITORY@SHA` */
export const COMMIT_ANNOTATION = 'whochanged.io/commit';
/** `SIGNER:BASE64`, an Ed25519 signature of statementOf. */
export const SIGNATURE_ANNOTATION = 'whochanged.io/signature';

/** What a signer signs: which commit, for which object of which cluster, with which content. */
export function statementOf(
  commit: string,
  cluster: string,
  key: Subject['key'],
  manifestDigest: string,
): string {
  return canonicalJson({
    cluster,
    commit,
    group: key.apiGroup,
    manifest: manifestDigest,
    name: key.name,
    namespace: key.namespace,
    resource: key.resource,
    type: 'whochanged.io/provenance/v1',
  });
}

/** SHA-256 of a manifest's canonical JSON without the two annotations and without what an apiserver adds; hex. */
export function manifestDigest(manifest: JsonObject): string {
  const { status: _, ...rest } = manifest;
  const metadata = isJsonObject(rest.metadata) ? { ...rest.metadata } : {};
  for (const name of [
    'managedFields',
    'resourceVersion',
    'uid',
    'generation',
    'creationTimestamp',
    'selfLink',
  ])
    delete metadata[name];
  if (isJsonObject(metadata.annotations)) {
    const { [COMMIT_ANNOTATION]: _c, [SIGNATURE_ANNOTATION]: _s, ...annotations } = metadata.annotations;
    delete annotations['kubectl.kubernetes.io/last-applied-configuration'];
    if (Object.keys(annotations).length > 0) metadata.annotations = annotations;
    else delete metadata.annotations;
  }
  return sha256(canonicalJson({ ...rest, metadata })).toString('hex');
}

/** Rule 8: a signer of the policy vouches for commit and content. A signature that was copied fits no other content. */
export function linksBySignature(subject: Subject, evidence: LinkEvidence): Link[] {
  const commit = subject.annotations[COMMIT_ANNOTATION];
  const signature = subject.annotations[SIGNATURE_ANNOTATION];
  if (commit === undefined) return [];
  const at = commit.lastIndexOf('@');
  const [repository, sha] = [commit.slice(0, at), commit.slice(at + 1)];
  if (at < 1 || !isSha(sha)) return [];
  const problem = signatureProblem(subject, commit, repository, signature, evidence);
  return [
    {
      rule: 'signed_annotation',
      strength: problem === undefined ? 'strong' : 'weak',
      sources: [{ repository, revision: sha, ...(problem === undefined && { sha }) }],
      evidence: [
        {
          kind: 'signature',
          ref: COMMIT_ANNOTATION,
          detail: problem ?? `${signature!.split(':', 1)[0]} signed ${commit} for this object and content`,
        },
      ],
      hazards: problem === undefined ? [] : [problem],
    },
  ];
}

function signatureProblem(
  subject: Subject,
  commit: string,
  repository: string,
  signature: string | undefined,
  evidence: LinkEvidence,
): string | undefined {
  if (signature === undefined) return 'nobody signed the annotation';
  const [name, value] = [
    signature.slice(0, signature.indexOf(':')),
    signature.slice(signature.indexOf(':') + 1),
  ];
  const signer = evidence.policy.signers.find((item) => item.name === name);
  if (!signer) return `the policy knows no signer ${name.slice(0, 60)}`;
  if (!matchesAny(signer.repositories, repository)) return `${name} may not sign for ${repository}`;
  if (subject.manifestDigest === undefined) return 'the manifest that was signed was not sent whole';
  const statement = statementOf(commit, subject.cluster, subject.key, subject.manifestDigest);
  try {
    const good = verify(
      null,
      Buffer.from(statement),
      createPublicKey(signer.publicKey),
      Buffer.from(value, 'base64'),
    );
    return good ? undefined : 'the signature is not for this object and content';
  } catch {
    return 'the signature can not be checked: the key or the signature is damaged';
  }
}
