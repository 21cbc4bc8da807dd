import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FieldChange } from '../core/diff/diff.js';
import { attributeJob } from '../jobs/attribute.js';
import {
  type Action,
  type ActionFile,
  type ActionTime,
  type Expectation,
  readActions,
} from './e2e/session/actions.js';
import { startReceiver, type TestReceiver } from './harness/receiver.js';

const FOLDER = join(import.meta.dirname, 'fixtures/session');
const BATCH = 400;

/** One thing that somebody did, as the ledger answers. */
interface Answer {
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
    select e.cluster_id, e.at, e.request_id, e.class, null, e.verb, e.code, null, e.object_ref->>'subresource', e.user_id, e.impersonated_user_id,
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

/** The recorded log through the real receiver, in batches as the apiserver posts them, and the jobs after it. */
async function replay(receiver: TestReceiver, recording: string): Promise<Answer[]> {
  const lines = gunzipSync(readFileSync(join(FOLDER, recording)))
    .toString('utf8')
    .trim()
    .split('\n');
  for (let at = 0; at < lines.length; at += BATCH) {
    const body = `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${lines.slice(at, at + BATCH).join(',')}]}`;
    const answer = await receiver.post(body);
    expect(answer).toMatchObject({
      status: 200,
      body: { stored: Math.min(BATCH, lines.length - at), quarantined: 0 },
    });
  }
  const client = await receiver.database.pool.connect();
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  await attributeJob().runOnce({ client, log, now: () => new Date(), signal: new AbortController().signal });
  client.release();
  return (await receiver.database.pool.query<Answer>(ANSWERS)).rows;
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

function compare(file: ActionFile, times: ActionTime[], answers: Answer[], action: Action): string[] {
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

describe.each([
  ['the golden session', 'actions.yaml', 'recording'],
  ['the session under mixed audit levels', 'actions-mixed-levels.yaml', 'recording-mixed-levels'],
])('%s', (_name, actionsFile, recording) => {
  const file = readActions(join(FOLDER, actionsFile));
  const times = JSON.parse(readFileSync(join(FOLDER, `${recording}-times.json`), 'utf8')) as ActionTime[];
  let receiver: TestReceiver;
  let answers: Answer[];
  beforeAll(async () => {
    receiver = await startReceiver();
    answers = await replay(receiver, `${recording}.ndjson.gz`);
  });
  afterAll(() => receiver.stop());

  it.each(file.actions.map((action) => [action.id, action] as const))('%s', (_id, action) => {
    expect(compare(file, times, answers, action)).toEqual([]);
  });

  it.each(
    file.actions.flatMap((action) =>
      (action.derived ?? []).map((derived) => [`${action.id}: ${derived.object}`, action, derived] as const),
    ),
  )('what followed from %s', (_id, action, derived) => {
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
        triggerTime &&
        at !== undefined &&
        at >= Date.parse(triggerTime.started_at) &&
        at <= Date.parse(triggerTime.finished_at);
      return {
        root: answer.root,
        // Where nobody set it off, the cause is a controller's own doing, or none.
        triggered: derived.trigger === undefined ? !trigger || trigger.class === 'derived' : within === true,
      };
    });
    expect(found).toContainEqual({
      root: derived.root
        ? expect.toSatisfy((root: string) => matches(derived.root!, root))
        : expect.anything(),
      triggered: true,
    });
  });

  it('lets no seeded secret out, in whatever form', async () => {
    const secrets = readFileSync(join(FOLDER, 'seeded-secrets.txt'), 'utf8')
      .split('\n')
      .filter((line) => line && !line.startsWith('#'));
    expect(secrets.length).toBeGreaterThan(5);
    const { rows: tables } = await receiver.database.pool.query<{ name: string }>(
      `select quote_ident(relname) as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'`,
    );
    let dump = '';
    for (const { name } of tables) {
      if (name === 'bodies') continue;
      const { rows } = await receiver.database.pool.query<{ text: string | null }>(
        `select string_agg(t::text, E'\\n') as text from ${name} t`,
      );
      dump += rows[0]?.text ?? '';
    }
    const { decodeBody } = await import('../store/body-encoding.js');
    const bodies = await receiver.database.pool.query<{ encoding: number; content: Buffer }>(
      'select encoding, content from bodies',
    );
    for (const { encoding, content } of bodies.rows) dump += `\n${decodeBody(encoding, content)}`;
    expect(dump.length).toBeGreaterThan(1_000_000);
    for (const secret of secrets) {
      const forms = [
        secret,
        Buffer.from(secret).toString('base64').replace(/=+$/, ''),
        encodeURIComponent(secret),
        Buffer.from(secret).toString('hex'),
      ];
      for (const form of forms)
        expect(dump.includes(form), `a form of a seeded secret of ${secret.length} characters`).toBe(false);
    }
  });
});
