import type { Pool } from 'pg';
import type { ImageCommit } from '../../core/gate/attestation.js';

/** Keeps which commits images were built from; what is known already is not repeated. @returns how many are new */
export async function recordImageCommits(pool: Pool, found: readonly ImageCommit[]): Promise<number> {
  const rows = found.map((one) => ({
    image_digest: one.imageDigest,
    repository: one.repository,
    sha: one.sha,
    signer: one.signer,
    predicate_type: one.predicateType,
    builder: one.builder ?? null,
    statement_digest: one.statementDigest,
  }));
  const { rowCount } = await pool.query(
    `insert into image_commits (image_digest, repository, sha, signer, predicate_type, builder, statement_digest)
     select * from jsonb_to_recordset($1::jsonb) as t (image_digest text, repository text, sha text, signer text,
            predicate_type text, builder text, statement_digest text)
     on conflict do nothing`,
    [JSON.stringify(rows)],
  );
  return rowCount ?? 0;
}

/** What attestations say an image was built from. */
export async function findImageCommits(pool: Pool, imageDigest: string): Promise<ImageCommit[]> {
  const { rows } = await pool.query<ImageCommit>(
    `select image_digest as "imageDigest", repository, sha, signer, predicate_type as "predicateType", builder,
            statement_digest as "statementDigest"
       from image_commits where image_digest = $1 order by received_at, repository, sha`,
    [imageDigest],
  );
  return rows;
}
