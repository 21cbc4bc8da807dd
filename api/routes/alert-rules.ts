import { Readable } from 'node:stream';
import { Type } from 'typebox';
import { BUILT_IN_RULES } from '../../core/alerts/built-in.js';
import type { Alerts } from '../../core/alerts/read-alerts.js';
import { RECEIVER_KINDS, receiverPlace } from '../../core/alerts/receiver.js';
import { RULE_FORMATS, SEVERITIES, SUBJECTS } from '../../core/alerts/rule.js';
import { WhochangedError } from '../../core/errors.js';
import { readAlertsText } from '../../store/alerts/alerts-text.js';
import { testAlerts } from '../../store/alerts/test-alerts.js';
import { findClusters } from '../../store/queries/change-filter.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { listOf, many } from '../list-query.js';
import { readWindow } from '../times.js';

const TAGS = ['alerts'];
const MAX_TEXT = 1024 * 1024;
const Body = Type.Object({
  text: Type.Optional(
    Type.String({
      description: 'a file of rules; the rules that are loaded, where none is sent',
      maxLength: MAX_TEXT,
    }),
  ),
  name: Type.Optional(Type.String({ description: 'how messages are to call it', maxLength: 300 })),
  files: Type.Optional(
    Type.Record(Type.String(), Type.String({ maxLength: MAX_TEXT }), {
      description: 'texts of the files of Sigma’s and Falco’s rules that it names, by their names',
    }),
  ),
});
const Problem = Type.Object({ name: Type.String(), problem: Type.String() });
const RuleSchema = Type.Object({
  name: Type.String(),
  title: Type.String(),
  severity: words(SEVERITIES),
  format: words(RULE_FORMATS),
  on: words(SUBJECTS),
  key: Type.Array(Type.String()),
  windowSeconds: Type.Integer(),
  newActorSeconds: Type.Optional(Type.Integer()),
  silentSeconds: Type.Optional(Type.Integer()),
  to: Type.Array(Type.String()),
});
const Rules = Type.Object({
  rules: Type.Array(RuleSchema),
  receivers: Type.Array(
    Type.Object({
      name: Type.String(),
      kind: words(RECEIVER_KINDS),
      place: Type.String({
        description: 'a host, or where the address is read from; never the address itself',
      }),
    }),
  ),
  unsupported: Type.Array(Problem, { description: 'rules of Sigma and Falco that are left out, and why' }),
  maxAgeSeconds: Type.Integer(),
});

function rulesItem({ rules, receivers, unsupported, maxAgeSeconds }: Alerts) {
  return {
    rules: rules.map(
      ({ name, title, severity, format, on, key, windowSeconds, newActorSeconds, silentSeconds, to }) => ({
        name,
        title,
        severity,
        format,
        on,
        key: [...key],
        windowSeconds,
        ...(newActorSeconds !== undefined && { newActorSeconds }),
        ...(silentSeconds !== undefined && { silentSeconds }),
        to: [...to],
      }),
    ),
    receivers: receivers.map((receiver) => ({
      name: receiver.name,
      kind: receiver.kind,
      place: receiverPlace(receiver),
    })),
    unsupported,
    maxAgeSeconds,
  };
}

/** The rules that a request is about: those that it sends, else those that are loaded. */
function rulesOf(
  body: { text?: string; name?: string; files?: Record<string, string> },
  loaded: (() => Alerts) | undefined,
): Alerts {
  if (body.text === undefined) {
    if (loaded) return loaded();
    throw new WhochangedError('invalid_request', 'no rules are loaded, and none were sent', {
      hint: 'send text, or set WHOCHANGED_ALERTS_FILE',
    });
  }
  return readAlertsText(body.text, body.name ?? 'the file', (name) => {
    const text = body.files && Object.hasOwn(body.files, name) ? body.files[name] : undefined;
    if (text === undefined) throw new Error('this file was not sent');
    return text;
  });
}

export function alertRuleRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/alert-rules',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'The rules that are looked for, whom they tell, and those that can be switched on',
        response: {
          200: Type.Object({
            configured: Type.Boolean({ description: 'whether WHOCHANGED_ALERTS_FILE is set' }),
            ...Rules.properties,
            builtIn: Type.Array(Type.Object({ name: Type.String(), title: Type.String() })),
          }),
        },
      },
    },
    async () => {
      const none: Alerts = { rules: [], receivers: [], unsupported: [], maxAgeSeconds: 0 };
      return {
        configured: deps.alerts !== undefined,
        ...rulesItem(deps.alerts?.() ?? none),
        builtIn: BUILT_IN_RULES.map(({ name, title }) => ({ name: String(name), title: String(title) })),
      };
    },
  );

  server.post(
    '/v1/alert-rules/check',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Whether a file of rules is valid; every problem with its line',
        body: Body,
        response: { 200: Rules },
      },
    },
    async ({ body }) => rulesItem(rulesOf(body, deps.alerts)),
  );

  server.post(
    '/v1/alert-rules/test',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary:
          'What rules would have alerted; nothing is written. NDJSON: rules left out, alerts, progress, a summary',
        querystring: Type.Object({
          cluster: many(Type.String()),
          rule: many(Type.String({ description: 'only these' })),
          since: Type.Optional(Type.String({ description: 'RFC 3339, or 30m, 2h, 7d ago; 7d unless told' })),
          until: Type.Optional(Type.String({ description: 'not included; now unless told' })),
        }),
        body: Body,
      },
    },
    async (request, reply) => {
      const { query, body } = request;
      const { rules, unsupported } = rulesOf(body, deps.alerts);
      const wanted = listOf(query.rule);
      const missing = wanted?.find((name) => rules.every((rule) => rule.name !== name));
      if (missing !== undefined) throw new WhochangedError('not_found', `no rule is called ${missing}`);
      const span = readWindow({
        since: query.since ?? '7d',
        ...(query.until !== undefined && { until: query.until }),
      });
      const clusters = await findClusters(deps.db, listOf(query.cluster));
      const chosen = rules.filter(({ name }) => wanted?.includes(name) ?? true);
      const found = testAlerts(deps.pool, clusters, chosen, span);
      const lines = async function* () {
        for (const leftOut of unsupported) yield `${JSON.stringify({ leftOut })}\n`;
        for await (const line of found) yield `${JSON.stringify(line)}\n`;
      };
      return reply.type('application/x-ndjson').send(Readable.from(lines()));
    },
  );
}
