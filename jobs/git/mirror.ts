import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WhochangedError } from '../../core/errors.js';
import type { MirroredRepo, Ref } from '../../store/repos.js';
import type { Access } from './access.js';
import { gitText, runGit } from './git-process.js';

/** Where commits are held that no ref of the repository's leads to any more. */
const KEPT = 'refs/whochanged/kept/';
/** A lock older than this was left by a git that was killed: no other works in the mirror. */
const STALE_MS = 1000;

/** What is fetched, by the host: branches, tags, and heads of pull requests, without which squashes can't be recomputed. */
const REFSPECS: Record<MirroredRepo['hostKind'], string[]> = {
  git: [],
  github: ['+refs/pull/*/head:refs/pull/*/head'],
  gitlab: ['+refs/merge-requests/*/head:refs/merge-requests/*/head'],
  gerrit: ['+refs/changes/*:refs/changes/*'],
};
const ALWAYS = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'];
const MIRRORED = ['refs/heads', 'refs/tags', 'refs/pull', 'refs/merge-requests', 'refs/changes'];

/** The folder of a repository's mirror. By its id: a name may be given again to another. */
export function mirrorFolder(gitDir: string, repoID: number): string {
  return join(gitDir, `${repoID}.git`);
}

/**
 * Makes the mirror where there is none, and clears what a killed git left in it.
 * @throws WhochangedError `conflict` where the folder mirrors another repository
 */
export async function prepareMirror(folder: string, url: string): Promise<void> {
  const there = await stat(join(folder, 'HEAD')).catch(() => undefined);
  if (!there) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await runGit({ folder, args: ['init', '--bare', '--quiet', '--initial-branch=none', folder] });
    await gitText({ folder, args: ['config', 'whochanged.url', url] });
    return;
  }
  const { stdout } = await runGit({ folder, args: ['config', '--get', 'whochanged.url'], accept: [0, 1] });
  const mirrored = stdout.toString('utf8').trim();
  if (mirrored === '') await gitText({ folder, args: ['config', 'whochanged.url', url] });
  else if (mirrored !== url)
    throw new WhochangedError('conflict', `${folder} is a mirror of another repository`, {
      hint: 'move that folder away: it belongs to another database',
    });
  await clearLeftovers(folder);
}

async function clearLeftovers(folder: string): Promise<void> {
  const leftovers = [
    ...(await namesIn(folder)).filter((name) => name.endsWith('.lock')),
    ...(await namesIn(join(folder, 'objects/pack')))
      .filter((name) => /^(tmp_|\.tmp-)/.test(name))
      .map((name) => join('objects/pack', name)),
    ...(await readdir(join(folder, 'refs'), { recursive: true }))
      .filter((name) => name.endsWith('.lock'))
      .map((name) => join('refs', name)),
  ];
  for (const name of leftovers) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found && Date.now() - found.mtimeMs > STALE_MS) await rm(path, { recursive: true, force: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

export interface FetchCall {
  access: Access;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/**
 * Brings the mirror up to date. Refs of the repository's that are gone go here too, and those that were rewritten move;
 * the objects stay until `collectGarbage`.
 * @throws GitError
 */
export async function fetchMirror(
  folder: string,
  repo: Pick<MirroredRepo, 'url' | 'hostKind'>,
  call: FetchCall,
): Promise<void> {
  await runGit({
    folder,
    args: [
      ...[
        'fetch',
        '--quiet',
        '--prune',
        '--no-tags',
        '--no-write-fetch-head',
        '--no-auto-gc',
        '--no-recurse-submodules',
      ],
      ...['--end-of-options', repo.url, ...ALWAYS, ...REFSPECS[repo.hostKind]],
    ],
    settings: call.access.settings,
    environment: call.access.environment,
    timeoutMs: call.timeoutMs,
    signal: call.signal,
  });
}

/** The ref that the repository's HEAD names, such as refs/heads/main; undefined for an empty repository or a detached HEAD. */
export async function findHeadRef(url: string, folder: string, call: FetchCall): Promise<string | undefined> {
  const text = await gitText({
    folder,
    args: ['ls-remote', '--symref', '--end-of-options', url, 'HEAD'],
    settings: call.access.settings,
    environment: call.access.environment,
    timeoutMs: call.timeoutMs,
    signal: call.signal,
  });
  return /^ref: (refs\/heads\/\S+)\tHEAD$/m.exec(text)?.[1];
}

/** The mirrored refs that lead to a commit. Gerrit's notes on changes (refs/changes/.../meta) are no code. */
export async function listRefs(folder: string): Promise<Ref[]> {
  const format = '%(objecttype) %(objectname) %(*objecttype) %(*objectname) %(refname)';
  const text = await gitText({ folder, args: ['for-each-ref', `--format=${format}`, ...MIRRORED] });
  return text.split('\n').flatMap((line): Ref[] => {
    const [, type, object, peeledType, peeled, name] =
      /^(\w+) ([0-9a-f]+) (\w*) ([0-9a-f]*) (.+)$/.exec(line) ?? [];
    if (name === undefined || /^refs\/changes\/.*\/(meta|robot-comments)$/.test(name)) return [];
    if (type === 'commit') return [{ name, sha: object! }];
    return type === 'tag' && peeledType === 'commit' ? [{ name, sha: peeled!, tagSha: object! }] : [];
  });
}

/** Keeps commits reachable by refs of our own, so that nothing that was once seen is lost when the repository loses it. */
export async function keepCommits(folder: string, shas: readonly string[]): Promise<void> {
  if (shas.length === 0) return;
  const input = shas.map((sha) => `update ${KEPT}${sha} ${sha}\n`).join('');
  await runGit({ folder, args: ['update-ref', '--stdin'], input });
}

/** Packs what has piled up, where git finds it worth it. What no ref leads to goes after two weeks. */
export async function collectGarbage(folder: string, signal: AbortSignal | undefined): Promise<void> {
  await runGit({
    folder,
    args: ['gc', '--auto', '--quiet'],
    settings: [
      ['gc.auto', '6700'],
      ['gc.autoDetach', 'false'],
      ['gc.autoPackLimit', '50'],
      ['pack.threads', '1'],
    ],
    timeoutMs: 1_800_000,
    signal,
  });
}
