import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommitGraph } from '../../../core/git/commit-graph.js';
import * as equivalence from '../../../jobs/git/equivalence.js';
import { commitsTouching, isAncestor, mergeBases } from '../../../jobs/git/history.js';
import { GitObjects } from '../../../jobs/git/objects.js';
import { plainEquivalence } from '../../../jobs/git/plain-merge.js';
import { TestRepo } from '../../harness/git-repo.js';

let repo: TestRepo;
let git: string;
let base: string;
const LINES = Array.from({ length: 30 }, (_, i) => `line ${i}`);
const text = (changes: Record<number, string> = {}) => LINES.map((line, i) => changes[i] ?? line).join('\n');

beforeAll(() => {
  repo = new TestRepo();
  git = join(repo.folder, '.git');
  base = repo.commit({ files: { 'app/a.yaml': text(), other: 'x\n' } });
});
afterAll(() => repo.remove());

/** A branch of two commits, and main gone on meanwhile; returns the head that is approved. */
function pullRequest(name: string): string {
  repo.checkout(name, base);
  repo.commit({ files: { 'app/a.yaml': text({ 2: `two of ${name}` }) } });
  const head = repo.commit({ files: { 'app/b.yaml': `b: ${name}\n` }, author: 'Bob <bob@example.com>' });
  repo.checkout(`main-${name}`, base);
  repo.commit({ files: { 'app/a.yaml': text({ 20: 'twenty' }) } });
  return head;
}

/** What is proven the short way must be what recomputing says. */
async function recomputeEquivalence(folder: string, merged: equivalence.Merged) {
  const recomputed = await equivalence.recomputeEquivalence(folder, merged);
  const objects = new GitObjects(folder);
  const plain = await plainEquivalence(objects, folder, merged);
  objects.close();
  if (plain) expect(plain.kind).toBe(recomputed.kind);
  return recomputed;
}

describe('plainEquivalence', () => {
  const branch = (name: string) => {
    repo.checkout(name, base);
    const approvedHead = repo.commit({
      files: { 'app/b.yaml': `b: ${name}\n`, 'new/deep/c.yaml': 'c: 1\n' },
    });
    repo.checkout(`main-${name}`, base);
    repo.commit({ files: { 'app/a.yaml': text({ 20: name }), 'app/deeper/d.yaml': 'd: 1\n' } });
    return approvedHead;
  };
  const prove = async (merged: equivalence.Merged) => {
    const objects = new GitObjects(git);
    const found = await plainEquivalence(objects, git, merged);
    objects.close();
    return found?.kind;
  };

  it('proves merges and squashes of branches whose files nobody else changed', async () => {
    const approvedHead = branch('plain-merge');
    expect(await prove({ approvedHead, mergeSha: repo.merge('plain-merge') })).toBe('ancestor');
    const squashed = branch('plain-squash');
    const mergeSha = repo.squash('plain-squash');
    expect(await prove({ approvedHead: squashed, mergeSha, method: 'squash' })).toBe('equal_tree');
    expect(await prove({ approvedHead: squashed, mergeSha, method: 'rebase' })).toBeUndefined();
  });

  it('proves nothing of what was added, changed or left out on the way', async () => {
    const approvedHead = branch('plain-edited');
    for (const files of [
      { 'app/c.yaml': 'privileged: true\n' },
      { 'app/b.yaml': 'b: other\n' },
      { 'new/deep/c.yaml': null },
      { 'app/deeper/d.yaml': 'd: 2\n' },
      { other: null },
    ]) {
      repo.checkout(`main-plain-edited`);
      repo.git('reset', '--hard', '--quiet', 'main-plain-edited');
      const parent = repo.head();
      const mergeSha = repo.squash('plain-edited', { files });
      expect([files, await prove({ approvedHead, mergeSha, method: 'squash' })]).toEqual([files, undefined]);
      repo.git('reset', '--hard', '--quiet', parent);
    }
    expect(await prove({ approvedHead, mergeSha: 'f'.repeat(40) })).toBeUndefined();
  });
});

describe('recomputeEquivalence', () => {
  it('finds the head in the history of a merge', async () => {
    const approvedHead = pullRequest('merge');
    const mergeSha = repo.merge('merge');
    expect(await recomputeEquivalence(git, { approvedHead, mergeSha })).toEqual({ kind: 'ancestor' });
    const later = repo.commit({ files: { other: 'y\n' } });
    expect(await recomputeEquivalence(git, { approvedHead, mergeSha: later })).toEqual({ kind: 'ancestor' });
  });

  it('sees what a merge brings in besides', async () => {
    const approvedHead = pullRequest('evil');
    repo.git('merge', '--no-ff', '--no-commit', 'evil');
    const mergeSha = repo.commit({ files: { 'app/c.yaml': 'privileged: true\n' }, message: 'Merge evil' });
    expect(await recomputeEquivalence(git, { approvedHead, mergeSha })).toEqual({
      kind: 'different',
      detail: 'the merge itself changes what neither side has: app/c.yaml',
    });
  });

  it('recomputes a squash', async () => {
    const approvedHead = pullRequest('squash');
    const mergeSha = repo.squash('squash');
    const equal = await recomputeEquivalence(git, { approvedHead, mergeSha, method: 'squash' });
    expect(equal.kind).toBe('equal_tree');
    expect(equal.detail).toContain(repo.git('rev-parse', `${mergeSha}^{tree}`));
    // Without the host's word for it too.
    expect((await recomputeEquivalence(git, { approvedHead, mergeSha })).kind).toBe('equal_tree');
  });

  it('tells a squash that was edited', async () => {
    const approvedHead = pullRequest('edited');
    const mergeSha = repo.squash('edited', { files: { 'app/b.yaml': 'b: edited \n' } });
    const different = await recomputeEquivalence(git, { approvedHead, mergeSha, method: 'squash' });
    expect(different.kind).toBe('different');
    expect(different.detail).toMatch(/which differs in app\/b\.yaml$/);
  });

  it('recomputes a rebase, commit by commit where the trees can’t tell', async () => {
    const approvedHead = pullRequest('rebased');
    repo.checkout('replayed', 'rebased');
    const mergeSha = repo.rebase('main-rebased');
    expect(await recomputeEquivalence(git, { approvedHead, mergeSha, method: 'rebase' })).toMatchObject({
      kind: 'equal_tree',
      detail: expect.stringMatching(/2 commits of \w+ rebased onto/),
    });
    // One of the replayed commits was changed on the way: only white space, which YAML takes to mean something.
    repo.checkout('tampered', 'main-rebased');
    repo.git('cherry-pick', 'rebased~1');
    repo.git('cherry-pick', '--no-commit', 'rebased');
    const tampered = repo.commit({ files: { 'app/b.yaml': '  b: rebased\n' } });
    expect(
      await recomputeEquivalence(git, { approvedHead, mergeSha: tampered, method: 'rebase' }),
    ).toMatchObject({
      kind: 'different',
      detail: expect.stringMatching(/has another patch than/),
    });
  });

  it('does not know what it can’t recompute', async () => {
    const approvedHead = pullRequest('conflict');
    repo.checkout('main-conflict');
    repo.commit({ files: { 'app/a.yaml': text({ 2: 'two of main' }) } });
    const mergeSha = repo.commit({
      files: { 'app/a.yaml': text({ 2: 'resolved' }), 'app/b.yaml': 'b: conflict\n' },
    });
    expect(await recomputeEquivalence(git, { approvedHead, mergeSha, method: 'squash' })).toMatchObject({
      kind: 'unknown',
      detail: expect.stringMatching(/conflicts in app\/a\.yaml/),
    });
    expect(await recomputeEquivalence(git, { approvedHead: 'f'.repeat(40), mergeSha })).toEqual({
      kind: 'unknown',
      detail: `commit ${'f'.repeat(40)} is not in the mirror`,
    });
    await expect(recomputeEquivalence(git, { approvedHead: '--all', mergeSha })).rejects.toThrow(
      'no commit id',
    );
  });
});

describe('history', () => {
  it('finds every commit of a range that touches a path, the merge that brought it in and one that undid it too', async () => {
    repo.checkout('history', base);
    const elsewhere = repo.commit({ files: { other: 'z\n' } });
    repo.checkout('topic', base);
    const topic = repo.commit({ files: { 'app/new.yaml': 'n: 1\n' } });
    repo.checkout('history');
    const merged = repo.merge('topic');
    repo.git('revert', '--no-edit', '-m', '1', merged);
    const reverted = repo.head();
    expect(await commitsTouching(git, base, reverted, 'app')).toEqual([reverted, merged, topic]);
    expect(await commitsTouching(git, base, reverted, 'other')).toEqual([elsewhere]);
    expect(await commitsTouching(git, reverted, base, '')).toEqual([]);
    expect(await isAncestor(git, base, reverted)).toBe(true);
    expect(await isAncestor(git, reverted, base)).toBe(false);
    expect(await mergeBases(git, topic, elsewhere)).toEqual([base]);

    const graph = new CommitGraph();
    for (const line of execFileSync('git', ['-C', repo.folder, 'rev-list', '--parents', 'history'], {
      encoding: 'utf8',
    })
      .trim()
      .split('\n')) {
      const [sha, ...parents] = line.split(' ');
      graph.add(sha!, parents);
    }
    expect(new Set(graph.range(base, reverted))).toEqual(
      new Set(await commitsTouching(git, base, reverted, '')),
    );
  });
});
