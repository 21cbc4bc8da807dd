import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Signature } from '../../core/approval/facts.js';
import { sha256 } from '../../core/canonical.js';
import { gitEnvironment, runGit } from './git-process.js';

/** Whose signatures are believed. */
export interface Signers {
  /** In the format of ssh-keygen(1), ALLOWED SIGNERS. */
  allowedSignersFile: string | undefined;
  /** OpenPGP public keys, binary or armoured. */
  keyringFile: string | undefined;
}

export interface VerifiedSignature {
  signature: Signature;
  /** The principal of an ssh key, or the key id of OpenPGP. */
  signer: string | undefined;
}

/** Changes when the keys do: signatures are then verified again. */
export async function signersDigest(signers: Signers): Promise<string> {
  const files = [signers.allowedSignersFile, signers.keyringFile];
  const contents = await Promise.all(files.map((file) => (file === undefined ? '' : readFile(file))));
  return sha256(contents.map((content) => sha256(content).toString('hex')).join('\n')).toString('hex');
}

/**
 * Verifies signatures of commits against the signers' keys, as of the time of each commit where keys have times.
 * `good`: by a key of ours. `bad`: the content was changed after it was signed, or the key was revoked. `unverified`:
 * by a key that is not ours, or one that had expired. Commits without a signature are `none`.
 * @throws GitError
 */
export async function verifySignatures(
  folder: string,
  shas: readonly string[],
  signers: Signers,
): Promise<Map<string, VerifiedSignature>> {
  if (signers.allowedSignersFile === undefined && signers.keyringFile === undefined)
    return new Map(shas.map((sha) => [sha, { signature: 'unverified', signer: undefined }]));
  const home = await mkdtemp(join(tmpdir(), 'whochanged-gpg-'));
  try {
    await importKeyring(home, signers.keyringFile);
    const { stdout } = await runGit({
      folder,
      args: ['log', '--no-walk=unsorted', '--stdin', '--format=%H%x1f%G?%x1f%GS%x1f%GK%x1e'],
      input: shas.map((sha) => `${sha}\n`).join(''),
      settings: [
        ['gpg.x509.program', '/bin/false'],
        ['gpg.ssh.allowedSignersFile', signers.allowedSignersFile ?? '/dev/null'],
      ],
      environment: { GNUPGHOME: home },
      timeoutMs: 600_000 + shas.length * 100,
    });
    const verified = new Map<string, VerifiedSignature>();
    for (const line of stdout.toString('utf8').split('\x1e')) {
      const [sha, code, signer, key] = line.trim().split('\x1f');
      if (sha) verified.set(sha, { signature: meaningOf(code!), signer: signerOf(code!, signer!, key!) });
    }
    return verified;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** git's `%G?` (Documentation/pretty-formats). */
function meaningOf(code: string): Signature {
  if (code === 'G') return 'good';
  return code === 'B' || code === 'R' ? 'bad' : 'unverified';
}

/** A name that a key of another gives itself proves nothing: only the key is told then. */
function signerOf(code: string, signer: string, key: string): string | undefined {
  return (code === 'G' ? signer || key : key) || undefined;
}

async function importKeyring(home: string, keyring: string | undefined): Promise<void> {
  if (keyring === undefined) return;
  // The operator chose these keys: none needs the word of another key.
  await writeFile(join(home, 'gpg.conf'), 'trust-model always\nno-autostart\nno-auto-key-retrieve\n', {
    mode: 0o600,
  });
  await promisify(execFile)('gpg', ['--homedir', home, '--batch', '--quiet', '--import', keyring], {
    env: gitEnvironment(),
    timeout: 60_000,
  });
}
