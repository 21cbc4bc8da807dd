import { matchesAny } from '../verdict/policy-match.js';
import type { RobotException } from './approval.js';
import type { Commit, Person, PullRequest } from './facts.js';

/** Everyone who put something into a pull request: its author, its commits' people, who pushed last. Never a merge bot. */
export function contributorsOf(
  commit: Commit,
  pullRequest: PullRequest,
  mergeBots: readonly string[],
): Person[] {
  const people = [pullRequest.author];
  for (const { author, committer, coAuthors } of pullRequest.commits)
    people.push(author, committer, ...(coAuthors ?? []));
  // A host that doesn't list the commits leaves those of the merged one.
  if (pullRequest.commits.length === 0) people.push(commit.author, commit.committer, ...commit.coAuthors);
  if (pullRequest.lastPusher) people.push(pullRequest.lastPusher);
  return people.filter((person) => !isAccount(person, mergeBots));
}

/** Whether a person is one of some accounts, by login or address. */
export function isAccount(person: Person, accounts: readonly string[]): boolean {
  return matchesAny(accounts, person.login) || matchesAny(accounts, person.email);
}

/** The robot that alone wrote a pull request and may do so unreviewed. */
export function soleAuthor(
  pullRequest: PullRequest,
  commit: Commit,
  robots: readonly RobotException[],
): RobotException | undefined {
  return robots.find(
    (robot) =>
      robot.may === 'propose' &&
      matchesAny(robot.repositories, commit.repo) &&
      isAccount(pullRequest.author, robot.accounts) &&
      pullRequest.commits.length > 0 &&
      pullRequest.commits.every(
        ({ author, coAuthors }) =>
          isAccount(author, robot.accounts) &&
          (coAuthors ?? []).every((person) => isAccount(person, robot.accounts)),
      ) &&
      (!pullRequest.lastPusher || isAccount(pullRequest.lastPusher, robot.accounts)) &&
      (robot.paths.length === 0 || commit.changedPaths.every((path) => matchesAny(robot.paths, path))),
  );
}
