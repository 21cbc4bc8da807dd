import { type Static, Type } from 'typebox';
import { JIRA_MAPPING_KEYS, type JiraMapping } from '../core/tickets/jira.js';
import type { TicketShape } from '../store/facts/imports.js';
import { words } from './change-schema.js';

export const IMPORT_BODY_BYTES = 16 * 1024 * 1024;
const MOST_ITEMS = 10_000;

const Items = Type.Array(Type.Unknown(), { maxItems: MOST_ITEMS });
export const ItemsBody = Type.Object({ items: Items }, { additionalProperties: false });

const Mapping = Type.Object(
  Object.fromEntries(
    JIRA_MAPPING_KEYS.map((key) => [
      key,
      Type.Optional(
        key === 'approvedStates'
          ? Type.Array(Type.String(), { maxItems: 50 })
          : Type.String({ maxLength: 200 }),
      ),
    ]),
  ),
  {
    additionalProperties: false,
    description: 'which fields of an issue mean what, such as customfield_10100',
  },
);
export const TicketsBody = Type.Object(
  { system: words(['servicenow', 'jira'] as const), mapping: Type.Optional(Mapping), items: Items },
  { additionalProperties: false },
);

export const ImportedSchema = Type.Object({
  stored: Type.Integer({ description: 'new, or changed' }),
  known: Type.Integer({ description: 'told before, just so' }),
  problems: Type.Array(
    Type.Object({ row: Type.Integer({ description: 'from 1' }), problem: Type.String() }),
    { description: 'what was left out, and why' },
  ),
});

export function ticketShape(body: Static<typeof TicketsBody>): TicketShape {
  return body.system === 'servicenow'
    ? { system: 'servicenow' }
    : { system: 'jira', mapping: (body.mapping ?? {}) as JiraMapping };
}
