import type { JsonObject } from '../audit-event.js';
import type { LinkedSource } from '../links/link.js';
import type { Policy } from '../verdict/policy.js';
import { type ApplicationState, applicationDrift, deployedSync } from './application-drift.js';
import { commitDrift, destinationOf, manifestOf, type SourceState, wantedManifests } from './commit-drift.js';
import { type Drift, driftState } from './drift.js';
import { type ManagedObject, objectDrift } from './object-drift.js';

/** The manifests of what is deployed, over all of its sources; else why they can't be had. */
export type DeployedManifests =
  | { manifests: JsonObject[]; renderer: string; unknown?: undefined }
  | { manifests?: undefined; unknown: string };

/** All that is known of an application. */
export interface DriftCase {
  state: ApplicationState;
  objects: ManagedObject[];
  /** There are more objects than were looked at. */
  moreObjects: boolean;
  sources: SourceState[];
  manifests: DeployedManifests;
  /** Objects that the ledger ever heard of, as `group namespace/name`. */
  heardOf: ReadonlySet<string>;
  /** Whether the application was recorded from its creation on: then what was never heard of was never there. */
  recordedWhole: boolean;
  policy: Policy;
  /** Microseconds. */
  now: number;
}

/** What runs that git does not say, and what git says that does not run, of one application. */
export function judgeDrift(c: DriftCase): Drift {
  const { state, objects, manifests } = c;
  const drift = applicationDrift(state, c.policy, c.now);
  const { findings, unknowns, notes } = drift;
  const add = (more: Pick<Drift, 'findings' | 'unknowns'> & { notes?: string[] }) => {
    findings.push(...more.findings);
    unknowns.push(...more.unknowns);
    notes.push(...(more.notes ?? []));
  };
  const alive = objects.filter(({ current }) => current && !current.deleted);
  if (state.deleted) {
    // Nothing is wanted any more, and what is gone is gone.
    const gone = alive.length === 0;
    return {
      state: gone ? 'in_sync' : 'drifted',
      findings: gone ? [] : findings,
      unknowns: [],
      notes: gone ? ['deleted, with all that it brought'] : notes,
    };
  }
  const { deployed } = deployedSync(state.syncs, c.policy);
  const wanted =
    manifests.manifests && wantedManifests(manifests.manifests, destinationOf(state.engine, state.object));
  const matched = new Set<JsonObject>();
  for (const object of objects) {
    const kind = object.current?.object?.kind;
    const own =
      wanted && manifestOf(wanted, { ...object.key, kind: typeof kind === 'string' ? kind : undefined });
    if (own) matched.add(own.manifest);
    add(
      objectDrift(
        object,
        own ? { manifest: own.manifest, renderer: manifests.renderer! } : wanted ? 'absent' : undefined,
        deployed?.startedAt,
        state.cluster,
      ),
    );
  }
  if (c.moreObjects)
    unknowns.push({ subject: 'its objects', reason: `only the first ${objects.length} were looked at` });
  if (wanted)
    add(
      neverSeen(
        c,
        wanted.filter(({ manifest }) => !matched.has(manifest)),
        deployed?.objects,
      ),
    );
  else if (deployed)
    notes.push(`objects are held against what git last wrote, not against the commit: ${manifests.unknown}`);
  add(commitDrift(c.sources));
  return { state: driftState(findings, unknowns), findings, unknowns, notes };
}

type Unmatched = ReturnType<typeof wantedManifests>;

/** Manifests of the deployed commit whose objects bear no mark in the ledger. */
function neverSeen(
  c: DriftCase,
  wanted: Unmatched,
  listed: ReadonlyArray<{ group: string; kind: string; namespace: string; name: string }> | undefined,
): Pick<Drift, 'findings' | 'unknowns'> {
  const found: Pick<Drift, 'findings' | 'unknowns'> = { findings: [], unknowns: [] };
  const destination = destinationOf(c.state.engine, c.state.object);
  const quiet: string[] = [];
  for (const { key, text, namespaces } of wanted) {
    const heard = namespaces.some((namespace) => c.heardOf.has(`${key.apiGroup} ${namespace}/${key.name}`));
    const told = listed?.some(
      ({ group, kind, name }) => group === key.apiGroup && kind === key.kind && name === key.name,
    );
    if (heard || told || destination.remote || !c.recordedWhole) {
      quiet.push(text);
      continue;
    }
    found.findings.push({
      kind: 'missing',
      strength: 'strong',
      detail: `the deployed commit has ${text}, and no event ever told of it`,
      evidence: c.sources.flatMap(({ source }) => commitEvidence(source)),
    });
  }
  if (quiet.length > 0)
    found.unknowns.push({
      subject: quiet.slice(0, 5).join(', ') + (quiet.length > 5 ? ` and ${quiet.length - 5} more` : ''),
      reason: destination.remote
        ? 'it goes to another cluster, and no write of it with the mark of the application is recorded'
        : 'the commit has it, and no write of it with the mark of the application is recorded: it may be older than the ledger',
    });
  return found;
}

function commitEvidence(source: LinkedSource) {
  return source.sha === undefined
    ? []
    : [{ kind: 'commit', ref: source.sha, detail: `${source.repository} ${source.path ?? ''}`.trim() }];
}
