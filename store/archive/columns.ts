import type { Column, ColumnType } from './parquet.js';

/** A column of a row as it is archived: what it is called, what it holds, and where SQL finds it. */
export interface ArchivedColumn extends Column {
  sql: string;
}

function columnsOf(table: string, types: Partial<Record<ColumnType, string>>): ArchivedColumn[] {
  return Object.entries(types).flatMap(([type, names]) =>
    names.split(/\s+/).map((word) => {
      const [name, expression = `${table}.${name}`] = word.split('=') as [string, string?];
      // Enums and uuids are text to the archive, arrays and jsonb are JSON.
      const sql =
        type === 'json'
          ? `to_json(${expression})::text`
          : type === 'text'
            ? `${expression}::text`
            : expression;
      return { name, type: type as ColumnType, sql };
    }),
  );
}

/** An event's own columns, as the view `events` has them (migrations/047-event-contexts.sql). */
const EVENT_OWN_COLUMNS = columnsOf('e', {
  time: 'at stage_at',
  bigint: 'seq user_id impersonated_user_id user_agent_id authorization_id',
  integer: 'source_id code',
  text: 'request_id audit_id api_version stage level class verb request_uri object_id',
  json: 'object_ref source_ips status annotations authentication_metadata',
  bytes: 'digest request_digest response_digest',
});

/** What its ids stand for, so that the archive can be read, and proven, without the database. */
const EVENT_NAME_COLUMNS = columnsOf('e', {
  text: `cluster=k.name source=s.name username=u.username user_uid=u.uid impersonated_username=i.username
    impersonated_uid=i.uid user_agent=a.user_agent api_group=o.api_group resource=o.resource namespace=o.namespace
    name=o.name decision=z.decision reason=z.reason`,
  json: 'groups=u.groups extra=u.extra impersonated_groups=i.groups impersonated_extra=i.extra',
});

export const EVENT_COLUMNS = [...EVENT_OWN_COLUMNS, ...EVENT_NAME_COLUMNS];

export const CHANGE_COLUMNS = columnsOf('c', {
  time: 'at completed_at',
  bigint: 'seq user_id impersonated_user_id user_agent_id generation order_rv',
  integer: 'source_id code',
  boolean: 'deleted',
  text: `change_id audit_id class kind outcome verb patch_type object_id api_group api_version resource subresource
    namespace name uid tool request_uri level resource_version before_certainty after_certainty summary`,
  json: 'inferred diff field_terms labels flags',
  bytes: 'event_digest request_digest response_digest before_digest after_digest',
});

/** The columns that name a body. In the files a number takes their place: the body's row in bodies.parquet. */
export const BODY_REFERENCES = ['request', 'response', 'before', 'after'] as const;

function inFile(columns: readonly ArchivedColumn[], more: Column[]): Column[] {
  const references = BODY_REFERENCES.filter((stem) => columns.some(({ name }) => name === `${stem}_digest`));
  return [
    ...columns.map(({ name, type }) => ({ name, type })),
    ...references.map((stem): Column => ({ name: `${stem}_body`, type: 'integer' })),
    ...more,
  ];
}

export const EVENT_FILE = inFile(EVENT_COLUMNS, []);
/** `event`: the row of events.parquet that told of it. */
export const CHANGE_FILE = inFile(CHANGE_COLUMNS, [{ name: 'event', type: 'integer' }]);
/** `digest` stands where the text is not there any more. */
export const BODY_FILE: Column[] = [
  { name: 'body', type: 'text' },
  { name: 'digest', type: 'bytes' },
];

export function selectList(columns: readonly ArchivedColumn[]): string {
  return columns.map(({ name, sql }) => `${sql} as ${name}`).join(', ');
}
