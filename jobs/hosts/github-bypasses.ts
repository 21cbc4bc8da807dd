import { parseMicros } from '../../core/timestamp.js';
import type { Bypass } from '../../store/facts/pushes.js';
import { found, type GithubRepo, isForbidden, isNotFound } from './github.js';
import type { Told } from './host.js';

const PAGE = 100;
const HOUR_US = 3_600_000_000;
/** What GitHub takes as time_period; it looks back a month at most. */
const PERIODS = [
  ['hour', HOUR_US],
  ['day', 24 * HOUR_US],
  ['week', 7 * 24 * HOUR_US],
] as const;

/**
 * Pushes and merges that bypassed a rule, by rule suites (REST "List repository rule suites"). GitHub forgets them after
 * a month, so a longer pause leaves a gap, which `limits` tells.
 */
export async function findGithubBypasses(
  at: GithubRepo,
  since: number | undefined,
  now: Date,
): Promise<Told<Bypass>> {
  const { octokit, owner, repo, known, limits } = at;
  const through = now.getTime() * 1000;
  const age = since === undefined ? Number.POSITIVE_INFINITY : through - since + HOUR_US / 6;
  const period = PERIODS.find(([, length]) => age < length)?.[0] ?? 'month';
  let suites: Array<{ id?: number; after_sha?: string; ref?: string }>;
  try {
    suites = await octokit.paginate(octokit.rest.repos.getRepoRuleSuites, {
      owner,
      repo,
      time_period: period,
      rule_suite_result: 'bypass',
      per_page: PAGE,
    });
  } catch (error) {
    if (!isForbidden(error) && !isNotFound(error)) throw error;
    limits.add(`bypassed rules: ${error.message}`);
    return { items: [] };
  }
  if (period === 'month' && since !== undefined)
    limits.add('bypassed rules: the last look was more than a week ago; GitHub tells a month back at most');
  const fresh = await known.newBypasses(suites.map((suite) => String(suite.id)));
  const items: Bypass[] = [];
  for (const { id, ref } of suites) {
    if (!fresh.has(String(id)) || !ref?.startsWith('refs/heads/')) continue;
    const suite = (await found(octokit.rest.repos.getRepoRuleSuite({ owner, repo, rule_suite_id: id! })))
      ?.data;
    const pushedAt = parseMicros(suite?.pushed_at);
    if (!suite?.after_sha || pushedAt === undefined) continue;
    const rules = (suite.rule_evaluations ?? []).filter(
      (one) => one.result === 'fail' && one.enforcement === 'active',
    );
    items.push({
      id: String(id),
      actor: suite.actor_name ? { login: suite.actor_name } : {},
      at: pushedAt,
      rule: [...new Set(rules.map((one) => one.rule_type ?? 'unknown'))].join(', ') || 'unknown',
      ref,
      ...(suite.before_sha && { before: suite.before_sha }),
      after: suite.after_sha,
      shas: await commitsOf(at, suite.before_sha, suite.after_sha),
    });
  }
  return { items, through };
}

/** The commits that a push brought; only its head where the host can't compare. */
async function commitsOf(
  { octokit, owner, repo }: GithubRepo,
  before: string | undefined,
  after: string,
): Promise<string[]> {
  if (!before || /^0+$/.test(before)) return [after];
  const basehead = `${before}...${after}`;
  const compared = await found(octokit.rest.repos.compareCommitsWithBasehead({ owner, repo, basehead }));
  const shas = (compared?.data.commits ?? []).map((commit) => commit.sha);
  return shas.includes(after) ? shas : [...shas, after];
}
