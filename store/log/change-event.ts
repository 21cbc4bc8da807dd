import type { ClientBase } from 'pg';
import { millisOfID } from '../../core/identity.js';
import { eventIDSql } from '../queries/events.js';

/** The id of the event that a change was made from; undefined when there is no such change. */
export async function findTerminalEvent(
  client: Pick<ClientBase, 'query'>,
  changeID: string,
): Promise<string | undefined> {
  const millis = millisOfID(changeID);
  const { rows } = await client.query<{ event_id: string }>(
    `select ${eventIDSql('c', 'event_digest')} as event_id
       from changes c
      where cluster_id in (select id from clusters) and change_id = $1 and at >= $2 and at < $3`,
    [changeID, new Date(millis).toISOString(), new Date(millis + 1).toISOString()],
  );
  return rows[0]?.event_id;
}

/**
 * The id of the event that told how a request ended which changed nothing: a read, a refusal. Undefined when there is none.
 */
export async function findEventOfRequest(
  client: Pick<ClientBase, 'query'>,
  requestID: string,
): Promise<string | undefined> {
  const millis = millisOfID(requestID);
  const { rows } = await client.query<{ event_id: string }>(
    `select ${eventIDSql('e')} as event_id
       from events e
      where cluster_id in (select id from clusters) and request_id = $1 and at >= $2 and at < $3 and class <> 'stage'
      order by stage_at desc limit 1`,
    [requestID, new Date(millis).toISOString(), new Date(millis + 1).toISOString()],
  );
  return rows[0]?.event_id;
}
