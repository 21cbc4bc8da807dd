import type { RunningApi } from './running-api.js';

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  json: any;
}

/** Asks the running API; with the admin's token unless told otherwise (null: without any). */
export async function ask(
  api: RunningApi,
  path: string,
  options: { method?: string; token?: string | null; body?: unknown; accept?: string } = {},
): Promise<Answer> {
  const token = options.token === undefined ? api.adminToken : options.token;
  const response = await fetch(api.http + path, {
    method: options.method ?? 'GET',
    headers: {
      ...(token !== null && { authorization: `Bearer ${token}` }),
      ...(options.accept && { accept: options.accept }),
      ...(options.body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
  });
  const text = await response.text();
  const isJson =
    /json/.test(response.headers.get('content-type') ?? '') &&
    !/ndjson/.test(response.headers.get('content-type')!);
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson && text !== '' ? JSON.parse(text) : undefined,
  };
}

/** Everything that a list gives, page by page, from a cursor on. */
export async function allItems(
  api: RunningApi,
  path: string,
  limit: number,
  from: string | null = null,
  // biome-ignore lint/suspicious/noExplicitAny: as above
): Promise<any[]> {
  const items: unknown[] = [];
  let cursor = from;
  do {
    const page: Answer = await ask(
      api,
      `${path}${path.includes('?') ? '&' : '?'}limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`,
    );
    if (page.status !== 200) throw new Error(`${path}: ${page.text}`);
    items.push(...page.json.items);
    cursor = page.json.next;
  } while (cursor !== null);
  return items;
}
