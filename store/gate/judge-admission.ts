import type { ClientBase, Pool } from 'pg';
import type { AdmissionSubject } from '../../core/gate/admission-subject.js';
import { evaluateUpcoming, type UpcomingCommits } from '../../core/gate/as-of.js';
import { linksByRunningSync } from '../../core/gate/running-sync.js';
import { objectID } from '../../core/identity.js';
import { findLinks, selectLink } from '../../core/links/find-links.js';
import type { LinkDecision, LinkedSource, Subject } from '../../core/links/link.js';
import { placeOf, type Sync } from '../../core/links/sync.js';
import { trackingsOf } from '../../core/links/tracking.js';
import type { Policy, PolicyVersion } from '../../core/verdict/policy.js';
import {
  actorOf,
  asksForOwners,
  breakGlassIdentity,
  environmentOf,
} from '../../core/verdict/policy-match.js';
import { systemWrite } from '../../core/verdict/system-writes.js';
import { excludedReason, type Verdict } from '../../core/verdict/verdict.js';
import type { GitAnswers } from '../verdicts/commit-facts.js';
import { controllerUsernames } from '../verdicts/controller-usernames.js';
import type { People } from '../verdicts/judge.js';
import type { Graphs } from '../verdicts/repositories.js';
import { findSyncHistories, findSyncsAround, syncOf } from '../verdicts/syncs.js';
import { Remembered, Standings } from './standings.js';

/** Commits, syncs and tickets that were just looked up count for this long. */
const REMEMBER_MS = 3000;

export interface GateMeans {
  pool: Pool;
  policy: () => Promise<PolicyVersion>;
  git: GitAnswers | undefined;
  people: People;
  /** Shared with whoever else judges by them; its own unless told. */
  graphs?: Graphs;
}

interface SyncNow {
  running: Sync[];
  /** By sync id: what was deployed before it. */
  previous: Map<string, Sync | undefined>;
}

/**
 * Says what there is to say of a request before it is carried out: by the rules that judge changes afterwards, with what
 * is known by now. What most requests need is in memory; the rest is a few look-ups by index. People's writes, controllers'
 * own and what is no change are told without the database.
 */
export class AdmissionJudge {
  readonly #means: GateMeans;
  readonly #standings: Standings;
  readonly #syncs = new Remembered<SyncNow>(REMEMBER_MS);
  readonly #former = new Remembered<string | undefined>(REMEMBER_MS);

  constructor(means: GateMeans) {
    this.#means = means;
    this.#standings = new Standings(means.git, REMEMBER_MS, means.graphs);
  }

  async judge(asked: AdmissionSubject, clusterID: number): Promise<Verdict> {
    const policy = await this.#means.policy();
    const { subject } = asked;
    const without = verdictWithout(asked, policy);
    if (without) return without;
    const decision = await this.#link(subject, clusterID, policy.policy);
    const selected = decision.state === 'linked' ? decision.selected : undefined;
    const sources: UpcomingCommits[] = [];
    for (const source of selected?.sources ?? []) {
      if (source.sha === undefined) continue;
      const whole = { ...source, sha: source.sha };
      const previous = await this.#previous(subject, clusterID, selected!.syncID, whole);
      sources.push(
        await this.#standings.commitsOf(this.#connect, whole, previous, subject.at, {
          owners: asksForOwners(policy.policy),
        }),
      );
    }
    return evaluateUpcoming({
      subject,
      policy,
      decision,
      attribution: undefined,
      root: undefined,
      sources,
      place: undefined,
      undoes: undefined,
      tickets: asksTickets(policy.policy, subject)
        ? await this.#standings.tickets(this.#connect, subject.at)
        : [],
      names: {
        application: trackingsOf(subject)[0]?.name,
        namespace: subject.key.namespace,
        cluster: subject.cluster,
        object: subject.key.name,
      },
      content: undefined,
      samePerson: this.#means.people.samePerson,
      person: this.#means.people.ofUser(subject.user.username, subject.cluster),
      now: subject.at,
    });
  }

  async #link(subject: Subject, clusterID: number, policy: Policy): Promise<LinkDecision> {
    const { running } = await this.#syncsOf(subject, clusterID, policy);
    const links = linksByRunningSync(subject, policy, running);
    if (links.length > 0) return selectLink(links);
    const decision = findLinks(subject, {
      policy,
      attribution: undefined,
      argocd: [],
      flux: [],
      fluxOverridesBy: undefined,
      helmRelease: undefined,
      ciRun: undefined,
      rendered: [],
    });
    const kind = actorOf(policy, subject.user)?.kind;
    return decision.state === 'none' && (kind === 'argocd' || kind === 'flux' || kind === 'helm_controller')
      ? { ...decision, reason: 'no record of a sync that goes on has come yet: its verdict follows' }
      : decision;
  }

  /** What goes on in the application that a controller's object says it belongs to. */
  async #syncsOf(subject: Subject, clusterID: number, policy: Policy): Promise<SyncNow> {
    const none: SyncNow = { running: [], previous: new Map() };
    const kind = actorOf(policy, subject.user)?.kind;
    const tracking = trackingsOf(subject).find(({ engine, own }) => engine === kind && own);
    if (!tracking || tracking.engine === 'helm') return none;
    const name = { engine: tracking.engine, namespace: tracking.namespace, name: tracking.name };
    return this.#syncs.get(`${clusterID} ${JSON.stringify(name)}`, () =>
      this.#connect(async (client) => {
        const syncs = (await findSyncsAround(client, clusterID, [{ ...name, at: subject.at }])).map(syncOf);
        // One that another has begun after has ended, whether or not its end was told.
        const latest = Math.max(...syncs.map((sync) => sync.startedAt));
        const running = syncs.filter((sync) => sync.phase === 'running' && sync.startedAt === latest);
        const histories = await findSyncHistories(
          client,
          running.map((sync) => sync.id),
          await controllerUsernames(client, policy),
        );
        return {
          running,
          previous: new Map(
            [...histories].map(([id, { sync, history }]) => [id, placeOf(sync, history).previous]),
          ),
        };
      }),
    );
  }

  /** The commit that was there before: of the application, else of the object. */
  async #previous(
    subject: Subject,
    clusterID: number,
    syncID: string | undefined,
    source: LinkedSource & { sha: string },
  ): Promise<string | undefined> {
    if (syncID !== undefined) {
      const policy = await this.#means.policy();
      const previous = (await this.#syncsOf(subject, clusterID, policy.policy)).previous.get(syncID);
      return previous?.sources.find(
        (other) => other.repository === source.repository && other.path === source.path,
      )?.sha;
    }
    const id = objectID(subject.key);
    return this.#former.get(`${clusterID} ${id} ${source.sha}`, () =>
      this.#connect((client) => formerCommit(client, clusterID, id, source.sha)),
    );
  }

  readonly #connect = async <T>(work: (client: ClientBase) => Promise<T>): Promise<T> => {
    const client = await this.#means.pool.connect();
    try {
      const result = await work(client);
      client.release();
      return result;
    } catch (error) {
      client.release(error as Error);
      throw error;
    }
  };
}

/** The commit that a pipeline last wrote an object from, besides this one. */
async function formerCommit(
  client: ClientBase,
  clusterID: number,
  id: string,
  sha: string,
): Promise<string | undefined> {
  const { rows } = await client.query<{ sha: string }>({
    name: 'former-commit',
    text: `select shas[1] as sha from links
            where cluster_id = $1 and object_id = $2 and selected and sync_id is null and shas[1] is not null and shas[1] <> $3
            order by at desc limit 1`,
    values: [clusterID, id, sha],
  });
  return rows[0]?.sha;
}

/** What takes no evidence: what is no change, and what controllers do on their own. */
function verdictWithout(
  { class: eventClass, subject }: AdmissionSubject,
  policy: PolicyVersion,
): Verdict | undefined {
  const environment = environmentOf(policy.policy, {
    cluster: subject.cluster,
    key: subject.key,
    labels: subject.labels,
  }).name;
  const say = (verdict: Verdict['verdict'], detail: string, reason?: Verdict['reason']): Verdict => ({
    verdict,
    ...(reason !== undefined && { reason }),
    detail,
    environment,
    policyVersion: policy.version,
    commits: [],
    evidence: [],
    hazards: [],
  });
  // A dry run is judged as if it were meant: whoever asks wants to know.
  const excluded = eventClass === 'dry_run' ? undefined : excludedReason(eventClass);
  if (excluded !== undefined) return say('excluded', excluded, eventClass);
  const write = systemWrite(subject, policy.policy);
  if (write.is === 'system')
    return say(
      'system',
      write.rootless ? write.detail : `${write.detail}; what set it off is traced afterwards`,
    );
  return undefined;
}

function asksTickets(policy: Policy, subject: Subject): boolean {
  const environment = environmentOf(policy, {
    cluster: subject.cluster,
    key: subject.key,
    labels: subject.labels,
  });
  return (
    environment.changeTicket !== undefined ||
    breakGlassIdentity(policy.breakGlass, subject.user) !== undefined
  );
}
