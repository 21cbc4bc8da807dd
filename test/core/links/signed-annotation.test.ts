import { generateKeyPairSync, sign } from 'node:crypto';
import { expect, it } from 'vitest';
import type { LinkEvidence } from '../../../core/links/evidence.js';
import type { Subject } from '../../../core/links/link.js';
import {
  COMMIT_ANNOTATION,
  linksBySignature,
  manifestDigest,
  SIGNATURE_ANNOTATION,
  statementOf,
} from '../../../core/links/signed-annotation.js';
import { DEFAULT_POLICY } from '../../../core/verdict/policy.js';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const signer = {
  name: 'release',
  publicKey: publicKey.export({ type: 'spki', format: 'pem' }) as string,
  repositories: ['acme/shop'],
};
const SHA = '4'.repeat(40);
const COMMIT = `acme/shop@${SHA}`;
const key = { apiGroup: 'apps', resource: 'deployments', namespace: 'shop', name: 'web' };
const manifest = (image: string) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: {},
  spec: { image },
});

/** An object whose annotation was signed for this content, in the cluster `prod`. */
function signed(content: object, commit = COMMIT): Record<string, string> {
  const statement = statementOf(commit, 'prod', key, manifestDigest(content as never));
  const value = sign(null, Buffer.from(statement), privateKey).toString('base64');
  return { [COMMIT_ANNOTATION]: commit, [SIGNATURE_ANNOTATION]: `release:${value}` };
}

function link(annotations: Record<string, string>, content: object | undefined, cluster = 'prod') {
  const subject = {
    cluster,
    key,
    annotations,
    manifestDigest: content && manifestDigest(content as never),
  } as unknown as Subject;
  const policy = { ...DEFAULT_POLICY, signers: [signer] };
  const [found] = linksBySignature(subject, { policy } as LinkEvidence);
  return found && [found.strength, found.sources[0]!.sha, found.hazards[0]];
}

it('ties a change to the commit that a signer vouches for, and a copy of the annotation to none', () => {
  const content = manifest('web:2');
  expect(link(signed(content), content)).toEqual(['strong', SHA, undefined]);
  // What an apiserver adds, and the two annotations themselves, are no part of what was signed.
  const applied = { ...content, metadata: { uid: 'u', annotations: signed(content) }, status: {} };
  expect(link(signed(content), applied)).toEqual(['strong', SHA, undefined]);
  const other = 'the signature is not for this object and content';
  expect(link(signed(content), manifest('web:9'))).toEqual(['weak', undefined, other]);
  expect(link(signed(content), content, 'staging')).toEqual(['weak', undefined, other]);
});

it.each<[string, Record<string, string>, object | undefined, string]>([
  ['nobody signed', { [COMMIT_ANNOTATION]: COMMIT }, manifest('web:2'), 'nobody signed the annotation'],
  [
    'an unknown signer signed',
    { ...signed(manifest('web:2')), [SIGNATURE_ANNOTATION]: 'mallory:AAAA' },
    manifest('web:2'),
    'the policy knows no signer mallory',
  ],
  [
    'somebody signed for a repository that isn’t theirs',
    signed(manifest('web:2'), `acme/payments@${SHA}`),
    manifest('web:2'),
    'release may not sign for acme/payments',
  ],
  [
    'the manifest was not sent whole',
    signed(manifest('web:2')),
    undefined,
    'the manifest that was signed was not sent whole',
  ],
])('is weak where %s', (_what, annotations, content, why) => {
  expect(link(annotations, content)).toEqual(['weak', undefined, why]);
});
