import type { ClientBase } from 'pg';
import type { ChangeTicket, CommitFacts, Person } from '../../core/approval/facts.js';
import type { SamePerson } from '../../core/approval/same-person.js';
import { findLinks } from '../../core/links/find-links.js';
import type { LinkDecision, LinkedSource } from '../../core/links/link.js';
import type { AdmissionMutation } from '../../core/manifest/admission.js';
import { evaluate } from '../../core/verdict/evaluate.js';
import type { Policy, PolicyVersion } from '../../core/verdict/policy.js';
import { asksForOwners, environmentOf } from '../../core/verdict/policy-match.js';
import type { Verdict } from '../../core/verdict/verdict.js';
import type { SourceCommits } from '../../core/verdict/verdict-case.js';
import type { BodyCache } from '../body-cache.js';
import { findTicketsBetween } from '../queries/change-tickets.js';
import { commitKey } from '../queries/commit-approvals.js';
import { findMutations } from './admission-mutations.js';
import { findCommitFacts, type GitAnswers } from './commit-facts.js';
import { type CommitRange, findRanges, rangeID } from './commit-ranges.js';
import { type JudgedCase, placeCases } from './judged-cases.js';
import { gatherLinkCases, type LinkCase } from './link-evidence.js';
import { type Graphs, Repositories } from './repositories.js';
import { findCurrentVerdicts, findFormerWriters } from './root-verdicts.js';
import { type ChangeKey, keyOf, readSubjects, type SubjectRow } from './subjects.js';
import { contentOf, deployedSources } from './written-content.js';

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

/** What a batch's verdicts rest on, save what the verdicts before them say. */
interface Gathered {
  cases: JudgedCase[];
  ranges: Map<string, CommitRange>;
  facts: Map<string, CommitFacts>;
  repositories: Repositories;
  tickets: ChangeTicket[];
  deployed: Map<LinkCase, LinkedSource[]>;
  mutations: Map<string, AdmissionMutation[]>;
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
  const gathered = await gatherCases(client, clusterID, rows, bench);
  return judgeGathered(client, clusterID, gathered, bench, now);
}

/** Links changes, and gathers what is known of their commits. Verdicts of others are not looked at yet. */
export async function gatherCases(
  client: ClientBase,
  clusterID: number,
  rows: readonly SubjectRow[],
  bench: Bench,
): Promise<Gathered> {
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
  const facts = await findCommitFacts(client, [...commits.values()], bench.git, bench.graphs, {
    owners: asksForOwners(policy),
  });
  const tickets = await ticketsFor(client, cases, policy);
  const deployed = await deployedSources(client, clusterID, cases);
  const mutations = await findMutations(
    client,
    clusterID,
    cases
      .filter((one) => one.decision.state === 'linked' || deployed.has(one.link))
      .map(({ link }) => keyOf(link.row)),
  );
  return { cases, ranges, facts, repositories, tickets, deployed, mutations };
}

/** Evaluates what was gathered, by the verdicts that others have by now. */
export async function judgeGathered(
  client: ClientBase,
  clusterID: number,
  { cases, ranges, facts, repositories, tickets, deployed, mutations }: Gathered,
  bench: Bench,
  now: Date,
): Promise<Judgement> {
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
  const judged: Judged[] = [];
  for (const { link, decision, place, questions } of [...cases].sort(byOrder)) {
    const { row, subject, evidence } = link;
    const root = rootOf(link);
    const content = await contentOf(
      link,
      decision.state === 'linked' ? decision.selected?.sources : deployed.get(link),
      mutations.get(row.change_id) ?? [],
      repositories,
      bench.git,
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
function byOrder({ link: a }: JudgedCase, { link: b }: JudgedCase): number {
  const derived = Number(a.row.class === 'derived') - Number(b.row.class === 'derived');
  return derived !== 0 && Math.abs(a.subject.at - b.subject.at) < 2e6 ? derived : a.subject.at - b.subject.at;
}

function rootOf({ evidence }: LinkCase): ChangeKey | undefined {
  return evidence.attribution?.content ?? evidence.attribution?.trigger;
}

/** Tickets are looked at where the policy asks for them, for changes or for emergencies. */
async function ticketsFor(
  client: ClientBase,
  cases: readonly JudgedCase[],
  policy: Policy,
): Promise<ChangeTicket[]> {
  const asks =
    policy.breakGlass.ticketSystems.length > 0 ||
    [policy.fallback, ...policy.environments].some((environment) => environment.changeTicket);
  if (!asks || cases.length === 0) return [];
  const times = cases.map(({ link }) => link.subject.at);
  return findTicketsBetween(client, Math.min(...times) - TICKET_REACH, Math.max(...times) + 1);
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
