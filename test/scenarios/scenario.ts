import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

const FOLDER = join(import.meta.dirname, '../fixtures/scenarios');

/** What happened in a repository and on its host, in order. Times are of 2026-03-02 UTC, or whole. */
export type GitStep =
  | {
      push: string;
      by: string;
      at: string;
      image?: string;
      other?: string;
      files?: Record<string, string>;
      bypassing?: string;
    }
  | { open: number; by: string; at: string; onto?: string }
  | {
      commit: string;
      to: number;
      by: string;
      at: string;
      image?: string;
      files?: Record<string, string>;
      committer?: string;
      with?: string[];
      pushedBy?: string;
    }
  | {
      review: number;
      by: string;
      says: 'approved' | 'changes_requested' | 'commented';
      at: string;
      dismissed?: string;
    }
  | {
      merge: string;
      of: number;
      by: string;
      at: string;
      how?: 'merge' | 'squash' | 'rebase';
      edited?: string;
    }
  | { pick: string; from: string; by: string; at: string };

/** What happened in the cluster. `image` is what the Deployment `web` runs afterwards. */
export interface Play {
  at: string;
  /** Argo CD syncs the Application `web`. */
  sync?: string;
  /** Flux applies the Kustomization. */
  flux?: string;
  /** Somebody writes `spec` of the Kustomization. */
  kustomization?: string;
  spec?: Record<string, unknown>;
  /** What Flux applies is an artifact, made of the revision. */
  artifact?: string;
  /** A person or program patches the Deployment. */
  edit?: string;
  /** Argo CD's record of a sync, written by somebody. */
  forge?: string;
  /** Somebody sets `kustomize.images` on the Application. */
  override?: string;
  /** kube-controller-manager makes a ReplicaSet and a Pod of the Deployment. */
  rollout?: string;
  /** A request as it is; `{sha:m7}` and `{url:shop}` stand for what they name. */
  request?: Record<string, unknown>;
  /** The last batch comes once more. */
  again?: boolean;
  by?: string;
  as?: string;
  groups?: string[];
  /** Of the user, as an apiserver verified it. */
  extra?: Record<string, string[]>;
  /** Of the Deployment afterwards. */
  annotations?: Record<string, string>;
  revision?: string | string[];
  image?: string;
  askedBy?: string;
  manifests?: number;
  overrides?: string;
  truncated?: boolean;
  health?: 'fails';
  unrecorded?: boolean;
}

export interface Expectation {
  /** `deployments/web at 09:30:02`, as resource/name and time. */
  change: string;
  verdict: string;
  /** RULE STRENGTH, or none. */
  link?: string;
  commits?: string[];
  /** The verdict of the change that gave it its content. */
  root?: string;
  /** Who set it off, where that is not who gave it its content. */
  trigger?: string;
  actor?: string;
  initiator?: string;
  /** Texts that stand somewhere in the verdict. */
  says?: string[];
}

export interface Scenario {
  number: number;
  file: string;
  title: string;
  environment?: string;
  /** Argo CD runs in another cluster than what it deploys to. */
  hub?: boolean;
  host?: 'github' | 'gitlab';
  permissions?: Record<string, string>;
  git?: Record<string, GitStep[]>;
  tickets?: Array<Record<string, unknown>>;
  /** Runs of pipelines, as the host of the first repository knows them. */
  runs?: Record<string, { of: string; from: string; to: string }>;
  cluster: Play[];
  expect: Expectation[];
  /** Requests that are no changes: their class. */
  excluded?: Array<{ request: string; because: string }>;
  /** How many changes an object has. */
  count?: Record<string, number>;
  findings?: string[];
}

const KEYS = [
  'title',
  'hub',
  'environment',
  'host',
  'permissions',
  'git',
  'tickets',
  'runs',
  'cluster',
  'expect',
  'excluded',
  'count',
  'findings',
];

/** Every scenario of test/fixtures/scenarios. */
export function readScenarios(): Scenario[] {
  return readdirSync(FOLDER)
    .filter((name) => /^\d\d-.*\.yaml$/.test(name))
    .sort()
    .map((file) => {
      const scenario = parse(readFileSync(join(FOLDER, file), 'utf8')) as Scenario;
      const unknown = Object.keys(scenario).filter((key) => !KEYS.includes(key));
      if (unknown.length > 0) throw new Error(`${file}: nothing looks at ${unknown.join(', ')}`);
      return { ...scenario, file, number: Number(file.slice(0, 2)) };
    });
}

export function readShared(name: 'policy.yaml'): string {
  return readFileSync(join(FOLDER, name), 'utf8');
}

/** RFC 3339 of a time in a scenario. */
export function timeOf(text: string): string {
  return text.includes('T') ? text : `2026-03-02T${text.length === 5 ? `${text}:00` : text}Z`;
}

export function microsOf(text: string): number {
  return Date.parse(timeOf(text)) * 1000;
}
