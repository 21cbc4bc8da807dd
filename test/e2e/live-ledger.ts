import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Pool } from 'pg';
import type { RunningSystem } from '../harness/system.js';

export async function adminToken(data: string): Promise<string> {
  return (await readFile(join(data, 'admin-token'), 'utf8')).trim();
}

/** Makes the apiserver's source, as `whochanged source add` does; returns the kubeconfig's path. */
export async function addSource(system: RunningSystem, data: string): Promise<string> {
  const response = await fetch(`${system.http}/v1/sources`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await adminToken(data)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'live', cluster: 'live' }),
  });
  const { kubeconfig } = (await response.json()) as { kubeconfig: string };
  const path = join(data, 'live.yaml');
  await writeFile(path, kubeconfig, { mode: 0o600 });
  return path;
}

/** Each event of the apiserver's audit log, by what tells it apart there. */
export async function eventsTold(path: string): Promise<string[]> {
  const told: string[] = [];
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const { auditID, stage, requestReceivedTimestamp, verb } = JSON.parse(line) as Record<string, string>;
    told.push(`${requestReceivedTimestamp} ${auditID} ${stage} ${verb}`);
  }
  return told;
}

/** The same of the ledger. */
export async function eventsStored(pool: Pool): Promise<string[]> {
  const { rows } = await pool.query<{ at: string; audit_id: string; stage: string; verb: string }>(
    'select at, audit_id, stage, verb from events',
  );
  return rows.map((row) => `${row.at} ${row.audit_id} ${row.stage} ${row.verb}`);
}
