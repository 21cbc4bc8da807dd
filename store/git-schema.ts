import type { Generated } from 'kysely';
import type { Person, Signature } from '../core/approval/facts.js';

// The tables of migrations/007-git.sql, as store/schema.ts has the others.

export const HOST_KINDS = ['git', 'github', 'gitlab', 'gerrit'] as const;
export type HostKind = (typeof HOST_KINDS)[number];

export interface RepoTable {
  id: Generated<number>;
  name: string;
  url: string;
  host_kind: Generated<HostKind>;
  api_url: string | null;
  project: string | null;
  default_branch: string | null;
  credential: string | null;
  ssh_key_file: string | null;
  known_hosts_file: string | null;
  created_at: Generated<string>;
  disabled_at: string | null;
  fetch_requested_at: string | null;
  fetch_attempted_at: string | null;
  fetched_at: string | null;
  fetch_error: string | null;
  fetch_failures: Generated<number>;
  head_ref: string | null;
  signers_digest: string | null;
  sync_requested_at: string | null;
  sync_attempted_at: string | null;
  synced_at: string | null;
  sync_error: string | null;
  sync_failures: Generated<number>;
}

export interface RefTable {
  repo_id: number;
  name: string;
  sha: string;
  tag_sha: string | null;
  updated_at: string;
}

export const REF_UPDATE_KINDS = ['created', 'fast_forward', 'forced', 'deleted'] as const;
export type RefUpdateKind = (typeof REF_UPDATE_KINDS)[number];

export interface RefUpdateTable {
  repo_id: number;
  id: Generated<string>;
  name: string;
  kind: RefUpdateKind;
  before_sha: string | null;
  after_sha: string | null;
  seen_at: string;
  since: string | null;
  pushed_at: string | null;
  pushed_by: string | null;
}

export interface CommitTable {
  repo_id: number;
  sha: string;
  seq: Generated<string>;
  tree: string;
  parents: string[];
  author_name: string;
  author_email: string;
  authored_at: string;
  committer_name: string;
  committer_email: string;
  committed_at: string;
  co_authors: Person[] | null;
  trailers: Array<[key: string, value: string]> | null;
  signature: Signature;
  signer: string | null;
  subject: string;
  message: string;
  changed_paths: string[];
  indexed_at: string;
}

export interface CommitPathTable {
  repo_id: number;
  path: string;
  sha: string;
}

export interface RenderingTable {
  repo_id: number;
  tree: string;
  path: string;
  renderer: string;
  redacted_by: string;
  rendered_at: Generated<string>;
  encoding: number;
  manifests: Buffer;
}

export interface RepoFindingTable {
  repo_id: number;
  id: Generated<string>;
  kind: string;
  found_at: Generated<string>;
  at: string;
  subject: string;
  detail: unknown;
}
