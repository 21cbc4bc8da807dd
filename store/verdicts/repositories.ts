import type { ClientBase } from 'pg';
import { CommitGraph } from '../../core/git/commit-graph.js';

/** A mirrored repository, as far as links look for it. */
export interface MirroredRepo {
  id: number;
  name: string;
}

/** The mirrored repositories, found by whatever a controller or a pipeline calls them. */
export class Repositories {
  readonly #byKey = new Map<string, MirroredRepo>();

  private constructor() {}

  static async load(client: ClientBase): Promise<Repositories> {
    const { rows } = await client.query<{ id: number; name: string; url: string; project: string | null }>(
      'select id, name, url, project from repos order by id desc',
    );
    const found = new Repositories();
    for (const { id, name, url, project } of rows) {
      const repo = { id, name };
      found.#byKey.set(urlKey(url), repo);
      if (project !== null) found.#byKey.set(project.toLowerCase(), repo);
    }
    // A name says exactly which is meant.
    for (const { id, name } of rows) found.#byKey.set(name, { id, name });
    return found;
  }

  /** By name, clone URL of any form, or path on its host. */
  find(repository: string): MirroredRepo | undefined {
    return (
      this.#byKey.get(repository) ??
      this.#byKey.get(urlKey(repository)) ??
      this.#byKey.get(repository.toLowerCase())
    );
  }
}

/** What all clone URLs of one repository have in common: `https://git@host/a/b.git`, `git@host:a/b`, `ssh://host:22/a/b`. */
export function urlKey(url: string): string {
  const scp = /^(?:[^@/]+@)?([^:/]+):(?!\/)(.+)$/.exec(url);
  const standard = /^[a-z][a-z0-9+.-]*:\/\//i.test(url) ? url : scp ? `ssh://${scp[1]}/${scp[2]}` : url;
  const parts = /^[a-z0-9+.-]+:\/\/(?:[^@/]*@)?([^/:]*)(?::\d+)?\/(.*)$/i.exec(standard);
  const path = (parts ? `${parts[1]}/${parts[2]}` : standard).replace(/\/+$/, '').replace(/\.git$/, '');
  return path.toLowerCase();
}

const CHUNK = 20_000;

/** Who descends from whom in each repository, kept from run to run and added to as commits are indexed. */
export class Graphs {
  readonly #graphs = new Map<number, { graph: CommitGraph; seq: string }>();

  async of(client: ClientBase, repoID: number): Promise<CommitGraph> {
    let known = this.#graphs.get(repoID);
    if (!known) {
      known = { graph: new CommitGraph(), seq: '0' };
      this.#graphs.set(repoID, known);
    }
    for (;;) {
      const { rows } = await client.query<{ sha: string; parents: string[]; seq: string }>({
        name: 'commits-after',
        text: 'select sha, parents, seq from commits where repo_id = $1 and seq > $2 order by seq limit $3',
        values: [repoID, known.seq, CHUNK],
      });
      for (const { sha, parents } of rows) known.graph.add(sha, parents);
      known.seq = rows.at(-1)?.seq ?? known.seq;
      if (rows.length < CHUNK) return known.graph;
    }
  }
}
