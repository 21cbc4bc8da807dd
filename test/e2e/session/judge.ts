import type { Pool } from 'pg';
import type { FieldChange } from '../../../core/diff/diff.js';
import type { Action, ActionFile, ActionTime, DerivedExpectation, Expectation } from './actions.js';

/** One thing that somebody did, as the ledger answers. */
export interface Answer {
  class: string;
  kind: string | null;
  verb: string;
  code: number | null;
  patch_type: string | null;
  object: string;
  subresource: string | null;
  username: string;
  impersonated: string | null;
  tool: string | null;
  diff: FieldChange[] | null;
  flags: string[] | null;
  certainty: string | null;
  at: string;
  change_id: string;
  root: string | null;
  trigger_change_id: string | null;
  attribution: string | null;
}

const OBJECT = (row: string) => `concat_ws('/', nullif(${row}.api_group, ''), ${row}.resource) || ' ' ||
  concat_ws('/', nullif(case when ${row}.resource = 'namespaces' then '' else ${row}.namespace end, ''), ${row}.name)`;

/** Every change, and every request that changed nothing, by its last stage. */
const ANSWERS = `
  with requests as (
    select c.cluster_id, c.at, c.change_id, c.class, c.kind, c.verb, c.code, c.patch_type, c.subresource, c.user_id, c.impersonated_user_id,
           c.user_agent_id, c.diff, c.flags, ${OBJECT('c')} as object,
           coalesce(c.after_certainty, case when 'content_not_recorded' = any(c.flags) then 'unknown'::certainty end) as certainty
      from changes c
    union all
    select e.cluster_id, e.at, e.request_id, e.class, null, e.verb, e.code, null, e.subresource, e.user_id, e.impersonated_user_id,
           e.user_agent_id, null, null, ${OBJECT('o')}, null
      from events e left join objects o on o.cluster_id = e.cluster_id and o.id = e.object_id
     where e.class <> 'stage'
       and not exists (select from changes c where c.cluster_id = e.cluster_id and c.at = e.at and c.change_id = e.request_id)
       and not exists (select from events later where later.cluster_id = e.cluster_id and later.at = e.at and later.request_id = e.request_id and later.stage > e.stage))
  select r.*, u.username, i.username as impersonated, a.tool, t.state as attribution, t.trigger_change_id, ${OBJECT('root')} as root
    from requests r
    join users u on u.cluster_id = r.cluster_id and u.id = r.user_id
    left join users i on i.cluster_id = r.cluster_id and i.id = r.impersonated_user_id
    left join user_agents a on a.cluster_id = r.cluster_id and a.id = r.user_agent_id
    left join attributions t on t.cluster_id = r.cluster_id and t.change_id = r.change_id
    left join objects root on root.cluster_id = r.cluster_id and root.id = t.root_object_id
   order by r.at`;

export async function findAnswers(pool: Pool): Promise<Answer[]> {
  return (await pool.query<Answer>(ANSWERS)).rows;
}

function fieldsOf(answer: Answer): string[] {
  return (answer.diff ?? []).map((change) => change.path).sort();
}

/** How an answer falls short of an expectation; nothing when it meets it. */
function shortfalls(expected: Expectation, answer: Answer, actor: string): string[] {
  const wrong: string[] = [];
  const check = (what: string, wanted: unknown, got: unknown) => {
    if (wanted !== undefined && wanted !== got)
      wrong.push(`${what}: expected ${String(wanted)}, got ${String(got)}`);
  };
  check('class', expected.class, answer.class);
  check('kind', expected.kind, answer.kind);
  check('verb', expected.verb, answer.verb);
  check('code', expected.code, answer.code);
  check('subresource', expected.subresource, answer.subresource);
  check('actor', expected.actor ?? actor, answer.username);
  check('impersonated', expected.impersonated, answer.impersonated);
  check('certainty', expected.certainty, answer.certainty);
  if (answer.patch_type !== 'ambiguous')
    check(
      'patch_type',
      expected.patch_type,
      answer.patch_type ?? (expected.class === 'change' ? null : expected.patch_type),
    );
  if (!matches(expected.object, answer.object))
    wrong.push(`object: expected ${expected.object}, got ${answer.object}`);
  if (expected.fields) check('fields', [...expected.fields].sort().join(', '), fieldsOf(answer).join(', '));
  for (const flag of expected.flags ?? [])
    if (!answer.flags?.includes(flag)) wrong.push(`flag ${flag} is missing`);
  for (const [path, [before, after]] of Object.entries(expected.values ?? {})) {
    const change = answer.diff?.find((item) => item.path === path);
    check(`${path} before`, JSON.stringify(before), JSON.stringify(change?.before ?? null));
    check(`${path} after`, JSON.stringify(after), JSON.stringify(change?.after ?? null));
  }
  return wrong;
}

function matches(pattern: string, text: string | null): boolean {
  if (text === null) return false;
  const expression = pattern
    .trim()
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*');
  return new RegExp(`^${expression}$`).test(text.trim());
}

/** What the user did while an action ran; reads that nobody expects are left aside, as the file says. */
function answersDuring(answers: Answer[], action: Action, time: ActionTime, actor: string): Answer[] {
  const since = Date.parse(time.started_at);
  const until = Date.parse(time.finished_at);
  const actors = new Set([
    actor,
    ...action.expect.flatMap((expected) => (expected.actor ? [expected.actor] : [])),
  ]);
  return answers.filter((answer) => {
    const at = Date.parse(answer.at);
    if (at < since || at > until || !actors.has(answer.username)) return false;
    return action.as !== 'admin' || answer.tool === 'kubectl';
  });
}

/** What is wrong with the answers about one action; nothing when they are right. */
export function compareAction(
  file: ActionFile,
  times: ActionTime[],
  answers: Answer[],
  action: Action,
): string[] {
  const actor = file.users[action.as]!;
  const time = times.find((item) => item.id === action.id)!;
  const left = answersDuring(answers, action, time, actor);
  const problems: string[] = [];
  for (const expected of action.expect) {
    const best = left
      .map((answer, index) => ({ index, wrong: shortfalls(expected, answer, actor) }))
      .sort((a, b) => a.wrong.length - b.wrong.length)[0];
    if (!best)
      problems.push(`missing: ${expected.class} ${expected.kind ?? expected.verb} ${expected.object}`);
    else if (best.wrong.length > 0)
      problems.push(`${expected.kind ?? expected.verb} ${expected.object}: ${best.wrong.join('; ')}`);
    if (best) left.splice(best.index, 1);
  }
  for (const extra of left) {
    // What a collection held is listed as what followed from its deletion.
    if (extra.class !== 'read' && !extra.flags?.includes('item_of_collection'))
      problems.push(
        `invented: ${extra.class} ${extra.kind ?? extra.verb} ${extra.object} by ${extra.username}`,
      );
  }
  return problems;
}

/** What is wrong with the answers about what followed from an action; undefined when one of them is right. */
export function compareDerived(
  times: ActionTime[],
  answers: Answer[],
  action: Action,
  derived: DerivedExpectation,
): string | undefined {
  const since = Date.parse(times.find((item) => item.id === action.id)!.started_at);
  const triggerTime =
    derived.trigger === undefined ? undefined : times.find((item) => item.id === derived.trigger)!;
  const candidates = answers.filter(
    (answer) =>
      Date.parse(answer.at) >= since &&
      answer.username === derived.actor &&
      matches(derived.object, answer.object) &&
      (derived.kind === undefined || derived.kind === answer.kind),
  );
  const found = candidates.map((answer) => {
    const trigger = answers.find((other) => other.change_id === answer.trigger_change_id);
    const at = trigger && Date.parse(trigger.at);
    const within =
      triggerTime !== undefined &&
      at !== undefined &&
      at >= Date.parse(triggerTime.started_at) &&
      at <= Date.parse(triggerTime.finished_at);
    // Where nobody set it off, the cause is a controller's own doing, or none.
    const triggered = derived.trigger === undefined ? !trigger || trigger.class === 'derived' : within;
    const rooted = derived.root === undefined ? answer.root !== null : matches(derived.root, answer.root);
    return { root: answer.root, triggered, right: triggered && rooted };
  });
  if (found.some(({ right }) => right)) return undefined;
  return `${derived.object}: expected root ${derived.root ?? 'any'} set off by ${derived.trigger ?? 'nobody'}, got ${JSON.stringify(found)}`;
}
