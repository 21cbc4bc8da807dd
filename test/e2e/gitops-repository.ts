import type { HostPullRequest, HostRepo } from '../harness/git-host/state.js';
import { TestRepo } from '../harness/git-repo.js';

const PROJECT = 'acme/fleet';

/** A real repository, and what its host knows of it. Everything in it was done in the last hour. */
export class GitopsRepository {
  readonly repo = new TestRepo('fleet');
  readonly host: HostRepo & { pullRequests: HostPullRequest[] } = {
    project: PROJECT,
    pullRequests: [],
    pushes: [],
    bypasses: [],
  };
  #now = Date.now() - 3_600_000;

  /** Alice's change, that Bob approved and merged. Returns the merge commit. */
  reviewed(files: Record<string, string>): string {
    const number = this.host.pullRequests.length + 1;
    const createdAt = this.#tick();
    const first = number === 1 && this.host.pushes!.length === 0;
    if (first)
      this.#push('main', this.repo.commit({ message: 'Begin', author: 'carol <carol@example.com>' }));
    this.repo.checkout(`pr-${number}`, 'main');
    const sha = this.repo.commit({ files, message: `Change ${number}`, author: 'alice <alice@example.com>' });
    const pushedAt = this.#tick();
    const approvedAt = this.#tick();
    this.repo.checkout('main');
    const parent = this.repo.head();
    const merged = this.repo.merge(`pr-${number}`, { author: 'bob <bob@example.com>' });
    this.host.pullRequests.push({
      number,
      author: 'alice',
      base: 'main',
      createdAt,
      commits: [{ sha, author: 'alice' }],
      pushes: [{ pusher: 'alice', sha, at: pushedAt }],
      reviews: [{ reviewer: 'bob', state: 'approved', at: approvedAt }],
      merged: { at: this.#tick(), by: 'bob', sha: merged, method: 'merge', parents: [parent, sha] },
    });
    return merged;
  }

  /** What Alice pushed to the branch past everybody. */
  pushed(files: Record<string, string>): string {
    this.repo.checkout('main');
    const sha = this.repo.commit({ files, message: 'Push', author: 'alice <alice@example.com>' });
    this.#push('main', sha, 'alice');
    return sha;
  }

  #push(branch: string, sha: string, pusher = 'carol'): void {
    this.host.pushes!.push({ pusher, sha, at: this.#tick(), branch });
  }

  #tick(): string {
    this.#now += 60_000;
    return `${new Date(this.#now).toISOString().slice(0, 19)}Z`;
  }
}

/** A Deployment's manifest, as an object: JSON is YAML. */
export function deploymentManifest(name: string, image: string, namespace = 'shop'): Record<string, unknown> {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels: { app: name } },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [{ name, image }] },
      },
    },
  };
}
