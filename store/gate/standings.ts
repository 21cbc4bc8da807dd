import type { ClientBase } from 'pg';
import type { ChangeTicket, CommitFacts } from '../../core/approval/facts.js';
import { judgedAsOf, type UpcomingCommits } from '../../core/gate/as-of.js';
import type { LinkedSource } from '../../core/links/link.js';
import { RecentMap } from '../../core/recent.js';
import { findTicketsBetween } from '../queries/change-tickets.js';
import { commitKey } from '../queries/commit-approvals.js';
import { findCommitFacts, type GitAnswers } from '../verdicts/commit-facts.js';
import { findRanges, pathOf, type RangeQuestion, rangeID } from '../verdicts/commit-ranges.js';
import { Graphs, Repositories } from '../verdicts/repositories.js';

/** Tickets that ended this long ago are still looked at, to say that they had expired; microseconds. */
const TICKET_REACH = 30 * 86_400 * 1e6;
/** Answers hold the facts of commits, kilobytes each. */
const REMEMBERED = 500;

interface Standing {
  facts: CommitFacts[];
  indexedAt: number;
  unavailable: string | undefined;
  note: string | undefined;
}

/**
 * How commits stand that are about to be deployed. What was found is remembered for a moment: a pipeline brings many
 * objects of one commit.
 */
export class Standings {
  readonly #git: GitAnswers | undefined;
  readonly #graphs: Graphs;
  readonly #standings: Remembered<Standing>;
  readonly #tickets: Remembered<ChangeTicket[]>;

  /** @param rememberMs for how long an answer counts; 0: not at all */
  constructor(git: GitAnswers | undefined, rememberMs: number, graphs = new Graphs()) {
    this.#git = git;
    this.#graphs = graphs;
    this.#standings = new Remembered(rememberMs);
    this.#tickets = new Remembered(rememberMs);
  }

  /**
   * The commits of one source since what was there before, with the times as of which they are judged.
   * @param wanted `owners`: whether the policy asks for the owners of what is changed
   */
  async commitsOf(
    connect: <T>(work: (client: ClientBase) => Promise<T>) => Promise<T>,
    source: LinkedSource & { sha: string },
    previous: string | undefined,
    now: number,
    wanted: { owners: boolean },
  ): Promise<UpcomingCommits> {
    const question = { repository: source.repository, previous, sha: source.sha, path: pathOf(source.path) };
    const standing = await this.#standings.get(JSON.stringify([question, wanted]), () =>
      connect((client) => this.#find(client, question, wanted)),
    );
    return {
      source,
      commits: standing.facts,
      deployedAt: now,
      asOf: judgedAsOf(standing.facts, standing.indexedAt, now),
      ...(standing.unavailable !== undefined && { unavailable: standing.unavailable }),
      ...(standing.note !== undefined && { note: standing.note }),
    };
  }

  /** Tickets that may cover a change made now. */
  tickets(
    connect: <T>(work: (client: ClientBase) => Promise<T>) => Promise<T>,
    now: number,
  ): Promise<ChangeTicket[]> {
    return this.#tickets.get('', () =>
      connect((client) => findTicketsBetween(client, now - TICKET_REACH, now + 1)),
    );
  }

  async #find(client: ClientBase, question: RangeQuestion, wanted: { owners: boolean }): Promise<Standing> {
    const repositories = await Repositories.load(client);
    const range = (await findRanges(client, [question], repositories, this.#graphs)).get(rangeID(question))!;
    const facts = await findCommitFacts(client, range.commits, this.#git, this.#graphs, wanted);
    return {
      facts: range.commits.map((commit) => facts.get(commitKey(commit))!),
      indexedAt: range.repo ? await lastIndexed(client, range.repo.id, question.sha) : 0,
      unavailable: range.unavailable,
      note: range.note,
    };
  }
}

/** When a commit came to us, which those before it did no later. */
async function lastIndexed(client: ClientBase, repoID: number, sha: string): Promise<number> {
  const { rows } = await client.query<{ micros: string }>({
    name: 'commit-indexed-at',
    text: `select (extract(epoch from indexed_at) * 1000000)::bigint as micros from commits where repo_id = $1 and sha = $2`,
    values: [repoID, sha],
  });
  return Number(rows[0]?.micros ?? 0);
}

/** Answers that count for a while. Who asks while one is being found waits for it; one that failed isn't kept. */
export class Remembered<T> {
  readonly #forMs: number;
  readonly #answers = new RecentMap<string, { at: number; answer: Promise<T> }>(REMEMBERED);

  constructor(forMs: number) {
    this.#forMs = forMs;
  }

  get(key: string, find: () => Promise<T>): Promise<T> {
    const known = this.#answers.get(key);
    const now = performance.now();
    if (known && now - known.at < this.#forMs) return known.answer;
    const answer = find();
    if (this.#forMs > 0) {
      this.#answers.set(key, { at: now, answer });
      answer.catch(() => this.#answers.delete(key));
    }
    return answer;
  }
}
