/** What happened to a ref between two looks at it. */
export interface RefChange {
  name: string;
  before: string | undefined;
  after: string | undefined;
}

/** The refs that came, moved or went, by name. */
export function refChanges(
  before: ReadonlyMap<string, { sha: string; tagSha?: string }>,
  after: ReadonlyArray<{ name: string; sha: string; tagSha?: string }>,
): RefChange[] {
  const changes: RefChange[] = [];
  const left = new Set(before.keys());
  for (const ref of after) {
    left.delete(ref.name);
    const old = before.get(ref.name);
    if (old?.sha !== ref.sha || old.tagSha !== ref.tagSha)
      changes.push({ name: ref.name, before: old?.sha, after: ref.sha });
  }
  for (const name of left) changes.push({ name, before: before.get(name)!.sha, after: undefined });
  return changes.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * What of it looks wrong: commits that left the default branch, and tags that don't stay where they were, since a
 * deployment names a commit by them. Branches of people are rewritten every day; that is recorded and no finding.
 */
export function findingKind(
  change: { name: string; kind: 'created' | 'fast_forward' | 'forced' | 'deleted' },
  defaultRef: string | undefined,
): 'history_rewritten' | 'default_branch_deleted' | 'tag_moved' | 'tag_deleted' | undefined {
  if (change.name.startsWith('refs/tags/')) {
    if (change.kind === 'created') return undefined;
    return change.kind === 'deleted' ? 'tag_deleted' : 'tag_moved';
  }
  if (change.name !== defaultRef) return undefined;
  if (change.kind === 'forced') return 'history_rewritten';
  return change.kind === 'deleted' ? 'default_branch_deleted' : undefined;
}
