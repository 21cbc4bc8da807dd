import type { ClientBase } from 'pg';
import type { ChangeTicket, CommitFacts, Person } from '../../core/approval/facts.js';
import type { SamePerson } from '../../core/approval/same-person.js';
import { type ContentComparison, compareContent, wholeObject } from '../../core/links/compare-content.js';
import { findLinks } from '../../core/links/find-links.js';
import type { LinkDecision, LinkedSource } from '../../core/links/link.js';
import { placeOf, type Sync, type SyncPlace } from '../../core/links/sync.js';
import type { AdmissionMutation } from '../../core/manifest/admission.js';
import { formatMicros } from '../../core/timestamp.js';
import { evaluate, type SourceCommits } from '../../core/verdict/evaluate.js';
import type { Policy, PolicyVersion } from '../../core/verdict/policy.js';
import { environmentOf } from '../../core/verdict/policy-match.js';
import type { Verdict } from '../../core/verdict/verdict.js';
import type { BodyCache } from '../body-cache.js';
import { findTicketsBetween } from '../queries/change-tickets.js';
import { commitKey } from '../queries/commit-approvals.js';
import { findMutations } from './admission-mutations.js';
import { findCommitFacts, type GitAnswers } from './commit-facts.js';
import { type CommitRange, findRanges, pathOf, type RangeQuestion, rangeID } from './commit-ranges.js';
import { controllerUsernames } from './controller-usernames.js';
import { gatherLinkCases, type LinkCase } from './link-evidence.js';
import { type Graphs, Repositories } from './repositories.js';
import { findCurrentVerdicts, findFormerWriters } from './root-verdicts.js';
import { type ChangeKey, keyOf, readSubjects, type SubjectRow } from './subjects.js';
import { findSyncHistories, findSyncsAround, syncOf } from './syncs.js';

/** Tickets that ended this long before a change are still looked at, to say that they had expired; microseconds. */
const TICKET_REACH = 30 * 86_400 * 1e6;

/** Who is who. */
export interface People {
  samePerson: SamePerson;
  /** The person behind a user of a cluster, by whatever account they are known. */
  ofUser(username: string, cluster: string): Person;
}

/** What the judging of a batch works with; kept from batch to batch. */
export interface Bench {
  policy: PolicyVersion;
  git: GitAnswers | undefined;
  people: People;
  graphs: Graphs;
  bodyCache: BodyCache;
}

export interface Judged {
  row: SubjectRow;
  key: ChangeKey;
  application: string | undefined;
  decision: LinkDecision;
  verdict: Verdict;
  rangeIDs: string[];
}

/** What a batch's verdicts came from, for whoever writes them. */
export interface Judgement {
  judged: Judged[];
  ranges: CommitRange[];
  facts: CommitFacts[];
}

interface Case {
  link: LinkCase;
  decision: LinkDecision;
  place: SyncPlace | undefined;
  questions: Array<{ source: LinkedSource; question: RangeQuestion; deployedAt: number }>;
}

/**
 * Says what there is to say of some changes of one cluster: links them, gathers what is known of their commits, and
 * evaluates. Reads only: who wants it kept writes it.
 * @param rows in any order; a root among them is judged before what follows from it
 */
export async function judgeChanges(
  client: ClientBase,
  clusterID: number,
  rows: readonly SubjectRow[],
  bench: Bench,
  now: Date,
): Promise<Judgement> {
  const { policy } = bench.policy;
  const subjects = await readSubjects(client, clusterID, rows, bench.bodyCache);
  const links = await gatherLinkCases(client, clusterID, subjects, policy, bench.bodyCache, bench);
  const decisions = links.map((link) => ({ link, decision: findLinks(link.subject, link.evidence) }));
  const cases = await placeCases(client, clusterID, decisions, policy);
  const repositories = await Repositories.load(client);
  const ranges = await findRanges(
    client,
    cases.flatMap(({ questions }) => questions.map(({ question }) => question)),
    repositories,
    bench.graphs,
  );
  const commits = new Map(
    [...ranges.values()].flatMap(({ commits: own }) =>
      own.map((commit) => [commitKey(commit), commit] as const),
    ),
  );
  const facts = await findCommitFacts(client, [...commits.values()], bench.git, bench.graphs);
  const tickets = await ticketsFor(client, cases, policy);
  const roots = await findCurrentVerdicts(
    client,
    clusterID,
    cases.flatMap(({ link }) => rootOf(link) ?? []),
  );
  const former = await findFormerWriters(
    client,
    clusterID,
    cases
      .filter(({ place }) => place?.kind === 'reapply')
      .map(({ link }) => ({ objectID: link.row.object_id, key: keyOf(link.row) })),
  );
  const deployed = await deployedSources(client, clusterID, cases);
  const mutations = await findMutations(
    client,
    clusterID,
    cases
      .filter((one) => one.decision.state === 'linked' || deployed.has(one.link))
      .map(({ link }) => keyOf(link.row)),
  );
  const judged: Judged[] = [];
  for (const { link, decision, place, questions } of [...cases].sort(byOrder)) {
    const { row, subject, evidence } = link;
    const root = rootOf(link);
    const content = await contentOf(
      link,
      decision.state === 'linked' ? decision.selected?.sources : deployed.get(link),
      mutations.get(row.change_id) ?? [],
      repositories,
      bench,
    );
    const verdict = evaluate({
      subject,
      policy: bench.policy,
      decision,
      attribution: evidence.attribution,
      root: root && roots.get(root.changeID),
      sources: questions.map(({ source, question, deployedAt }): SourceCommits => {
        const range = ranges.get(rangeID(question))!;
        return {
          source,
          deployedAt,
          commits: range.commits.map((commit) => facts.get(commitKey(commit))!),
          ...(range.unavailable !== undefined && { unavailable: range.unavailable }),
          ...(range.note !== undefined && { note: range.note }),
        };
      }),
      place: place?.kind,
      undoes: former.get(row.change_id),
      tickets,
      names: {
        application: link.application?.split('/').at(-1),
        namespace: subject.key.namespace,
        cluster: subject.cluster,
        object: subject.key.name,
      },
      content,
      samePerson: bench.people.samePerson,
      person: bench.people.ofUser(subject.user.username, subject.cluster),
      now: now.getTime() * 1000,
    });
    roots.set(row.change_id, { verdict: verdict.verdict, ...(verdict.reason && { reason: verdict.reason }) });
    judged.push({
      row,
      key: keyOf(row),
      application: link.application,
      decision,
      verdict,
      rangeIDs: [...new Set(questions.map(({ question }) => rangeID(question)))],
    });
  }
  return { judged, ranges: [...ranges.values()], facts: [...facts.values()] };
}

/** A root before what follows from it, which a clock may contradict only by a little. */
function byOrder({ link: a }: Case, { link: b }: Case): number {
  const derived = Number(a.row.class === 'derived') - Number(b.row.class === 'derived');
  return derived !== 0 && Math.abs(a.subject.at - b.subject.at) < 2e6 ? derived : a.subject.at - b.subject.at;
}

function rootOf({ evidence }: LinkCase): ChangeKey | undefined {
  return evidence.attribution?.content ?? evidence.attribution?.trigger;
}

/** Where each linked sync stands in its application's history, and what there is to ask git for. */
async function placeCases(
  client: ClientBase,
  clusterID: number,
  decisions: ReadonlyArray<{ link: LinkCase; decision: LinkDecision }>,
  policy: Policy,
): Promise<Case[]> {
  const ids = decisions.flatMap(({ decision }) =>
    decision.state === 'linked' ? (decision.selected?.syncID ?? []) : [],
  );
  const histories = await findSyncHistories(client, ids, await controllerUsernames(client, policy));
  const bySync = new Map<string, SyncPlace>();
  for (const [id, { sync, history }] of histories) bySync.set(id, placeOf(sync, history));
  const former = await findFormerPipelines(client, clusterID, decisions);
  return decisions.map(({ link, decision }): Case => {
    const selected = decision.state === 'linked' ? decision.selected : undefined;
    const place = selected?.syncID === undefined ? undefined : bySync.get(selected.syncID);
    const deployedAt = place?.first.startedAt ?? link.subject.at;
    const questions = (selected?.sources ?? []).flatMap((source) => {
      if (source.sha === undefined) return [];
      const previous =
        selected?.syncID === undefined
          ? former.get(link.row.change_id)
          : previousSha(place?.previous, source);
      const question = {
        repository: source.repository,
        previous,
        sha: source.sha,
        path: pathOf(source.path),
      };
      return [{ source, question, deployedAt }];
    });
    return { link, decision, place, questions };
  });
}

/** What the same source was at before; a source that is new had nothing. */
function previousSha(previous: Sync | undefined, source: LinkedSource): string | undefined {
  return previous?.sources.find(
    (other) => other.repository === source.repository && other.path === source.path,
  )?.sha;
}

/** The commit that a pipeline deployed the same object from the time before, by change id. */
async function findFormerPipelines(
  client: ClientBase,
  clusterID: number,
  decisions: ReadonlyArray<{ link: LinkCase; decision: LinkDecision }>,
): Promise<Map<string, string>> {
  const asked = decisions.filter(
    ({ decision }) =>
      decision.state === 'linked' &&
      decision.selected?.syncID === undefined &&
      decision.selected?.rule !== 'derived',
  );
  if (asked.length === 0) return new Map();
  const { rows } = await client.query<{ change_id: string; sha: string }>({
    name: 'former-pipelines',
    text: `select q.change_id, l.shas[1] as sha
             from unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[]) as q (change_id, object_id, at, sha)
            cross join lateral (
              select shas from links
               where cluster_id = $1 and object_id = q.object_id and at < q.at and selected and sync_id is null
                 and shas[1] is not null and shas[1] <> q.sha
               order by at desc limit 1) l`,
    values: [
      clusterID,
      asked.map(({ link }) => link.row.change_id),
      asked.map(({ link }) => link.row.object_id),
      asked.map(({ link }) => formatMicros(link.subject.at)),
      asked.map(({ decision }) => decision.selected?.sources[0]?.sha ?? ''),
    ],
  });
  return new Map(rows.map((row) => [row.change_id, row.sha]));
}

/** Tickets are looked at where the policy asks for them, for changes or for emergencies. */
async function ticketsFor(
  client: ClientBase,
  cases: readonly Case[],
  policy: Policy,
): Promise<ChangeTicket[]> {
  const asks =
    policy.breakGlass.ticketSystems.length > 0 ||
    [policy.fallback, ...policy.environments].some((environment) => environment.changeTicket);
  if (!asks || cases.length === 0) return [];
  const times = cases.map(({ link }) => link.subject.at);
  return findTicketsBetween(client, Math.min(...times) - TICKET_REACH, Math.max(...times) + 1);
}

/** What was deployed from git when somebody wrote an object that a controller manages: its content may equal that. */
async function deployedSources(
  client: ClientBase,
  clusterID: number,
  cases: readonly Case[],
): Promise<Map<LinkCase, LinkedSource[]>> {
  const asked = cases.flatMap(({ link, decision }) => {
    if (decision.state === 'linked' || !link.application || link.row.class !== 'change') return [];
    const [engine, namespace, name] = link.application.split('/') as [string, string, string];
    return engine === 'argocd' || engine === 'flux'
      ? [{ link, engine, namespace: namespace || undefined, name, at: link.subject.at } as const]
      : [];
  });
  const found = new Map<LinkCase, LinkedSource[]>();
  if (asked.length === 0) return found;
  const syncs = (await findSyncsAround(client, clusterID, asked)).map(syncOf);
  for (const { link, engine, namespace, name, at } of asked) {
    const last = syncs
      .filter(
        (sync) =>
          sync.engine === engine &&
          sync.application.key.name === name &&
          (namespace === undefined || sync.application.key.namespace === namespace),
      )
      .filter((sync) => sync.startedAt <= at && sync.phase === 'succeeded' && !sync.dryRun)
      .sort((a, b) => b.startedAt - a.startedAt)[0];
    if (last) found.set(link, last.sources);
  }
  return found;
}

/** How what was written stands to the manifests of the commit, where they can be had. */
async function contentOf(
  link: LinkCase,
  sources: readonly LinkedSource[] | undefined,
  mutations: readonly AdmissionMutation[],
  repositories: Repositories,
  bench: Bench,
): Promise<ContentComparison | undefined> {
  const { row, object, request, subject } = link;
  if (!bench.git || !sources || !object || row.deleted || subject.objectKind === undefined) return undefined;
  for (const source of sources) {
    const repo = source.sha === undefined ? undefined : repositories.find(source.repository);
    if (!repo) continue;
    const found = await bench.git.manifest(repo.name, source.sha!, pathOf(source.path), {
      group: row.api_group,
      kind: subject.objectKind,
      namespace: row.namespace,
      name: row.name,
    });
    if (found) return compareContent(found.manifest, object, wholeObject(request), found.renderer, mutations);
  }
  return undefined;
}

/** When a verdict is final: late evidence is awaited until then. */
export function finalAt(row: SubjectRow, policy: Policy): number {
  const environment = environmentOf(policy, {
    cluster: row.cluster,
    labels: row.labels ?? [],
    key: { apiGroup: row.api_group, resource: row.resource, namespace: row.namespace, name: row.name },
  });
  return Number(row.micros) + environment.finalizeAfterMinutes * 60 * 1e6;
}

/** When the review of an emergency is overdue. */
export function graceEnd(row: SubjectRow, policy: Policy, verdict: Verdict): number {
  const environment =
    [...policy.environments, policy.fallback].find(({ name }) => name === verdict.environment) ??
    policy.fallback;
  return Number(row.micros) + environment.graceHours * 3_600 * 1e6;
}
