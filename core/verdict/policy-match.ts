import type { UserInfo } from '../audit-event.js';
import type { ObjectKey } from '../identity.js';
import { type BreakGlass, DAYS, type Environment, type Policy, type RegisteredActor } from './policy.js';

const compiled = new Map<string, RegExp>();

/** Whether a text is what a pattern says: exact, or with `*` for any characters. */
export function matches(pattern: string, text: string): boolean {
  if (!pattern.includes('*')) return pattern === text;
  let expression = compiled.get(pattern);
  if (!expression) {
    const source = pattern.split('*').map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'));
    expression = new RegExp(`^${source.join('.*')}$`, 's');
    if (compiled.size > 1000) compiled.clear();
    compiled.set(pattern, expression);
  }
  return expression.test(text);
}

export function matchesAny(patterns: readonly string[], text: string | undefined): boolean {
  return text !== undefined && patterns.some((pattern) => matches(pattern, text));
}

/** The environment that judges a change: the first whose selectors all hold, else the fallback. */
export function environmentOf(
  policy: Policy,
  change: { cluster: string; key: ObjectKey; labels: readonly string[] },
): Environment {
  const labels = new Set(change.labels);
  return (
    policy.environments.find(
      (environment) =>
        (environment.clusters.length === 0 || matchesAny(environment.clusters, change.cluster)) &&
        (environment.namespaces.length === 0 || matchesAny(environment.namespaces, change.key.namespace)) &&
        Object.entries(environment.labels).every(([key, value]) => labels.has(`${key}=${value}`)),
    ) ?? policy.fallback
  );
}

/** Whether any environment asks for the owners of what is changed. */
export function asksForOwners({ environments, fallback }: Policy): boolean {
  return [fallback, ...environments].some(({ codeOwners }) => codeOwners === true);
}

/** The registered actor behind an authenticated user. Who is impersonated doesn't count: anyone might impersonate. */
export function actorOf(policy: Policy, user: UserInfo): RegisteredActor | undefined {
  return policy.actors.find(
    (actor) =>
      matchesAny(actor.users, user.username) ||
      (user.groups ?? []).some((group) => matchesAny(actor.groups, group)),
  );
}

/** What of the break-glass rules makes a user one that may act in an emergency; undefined: nothing. */
export function breakGlassIdentity(rules: BreakGlass, user: UserInfo): string | undefined {
  if (matchesAny(rules.users, user.username)) return `user ${user.username}`;
  const group = (user.groups ?? []).find((name) => matchesAny(rules.groups, name));
  if (group !== undefined) return `group ${group}`;
  for (const { extra, pattern } of rules.sessions) {
    const session = (user.extra?.[extra] ?? []).find((value) => matches(pattern, value));
    if (session !== undefined) return `session ${session}`;
  }
  return undefined;
}

/** Whether a time, in microseconds, lies in one of an environment's windows. */
export function inChangeWindow(environment: Environment, at: number): boolean {
  if (environment.changeWindows.length === 0) return true;
  const date = new Date(at / 1000);
  const minute = date.getUTCHours() * 60 + date.getUTCMinutes();
  const day = DAYS[date.getUTCDay()]!;
  return environment.changeWindows.some(
    (window) => window.days.includes(day) && minute >= window.from && minute < window.until,
  );
}
