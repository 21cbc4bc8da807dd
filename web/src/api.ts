import { session } from './session.svelte.ts';

/** How many questions wait for their answers. */
let waiting = 0;
const told = (by: number) => {
  waiting += by;
  document.documentElement.dataset.waiting = String(waiting);
};

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

/** What the API answered instead (RFC 9457), or that it couldn't be reached (status 0). */
export class ApiProblem extends Error {
  readonly status: number;
  readonly hint: string | undefined;

  constructor(status: number, detail: string, hint?: string) {
    super(detail);
    this.name = 'ApiProblem';
    this.status = status;
    this.hint = hint;
  }
}

/** A query string with its question mark; lists repeat their name, what is undefined or empty is left out. */
export function queryText(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const item of Array.isArray(value) ? (value as string[]) : [value])
      if (item !== undefined && item !== '') parameters.append(name, String(item));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}

/** Asks the API with the session's token. @throws ApiProblem */
export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return counted(send<T>(path + queryText(query), { headers: {} }, signal));
}

/** The same, as bytes: of whatever type the answer is. @throws ApiProblem */
export function getBlob(path: string, query: Query = {}): Promise<Blob> {
  return counted(answerTo(path + queryText(query), { headers: {} }).then((response) => response.blob()));
}

/** Has the API do something, with the session's token. @throws ApiProblem */
export function post<T>(path: string, body: object): Promise<T> {
  const headers = { 'content-type': 'application/json' };
  return counted(send<T>(path, { method: 'POST', headers, body: JSON.stringify(body) }));
}

/** Lets something count as waited for. */
export async function counted<T>(work: Promise<T>): Promise<T> {
  told(1);
  try {
    return await work;
  } finally {
    told(-1);
  }
}

interface Request {
  method?: string;
  headers: Record<string, string>;
  body?: string;
}

async function send<T>(address: string, request: Request, signal?: AbortSignal): Promise<T> {
  return (await (await answerTo(address, request, signal)).json()) as T;
}

async function answerTo(address: string, request: Request, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, {
      ...request,
      headers: { ...request.headers, authorization: `Bearer ${session.token}` },
      ...(signal && { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiProblem(0, 'whochanged does not answer', 'it may be restarting: try again');
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as { detail?: string; hint?: string };
  const detail = problem.detail ?? `the server answered ${response.status}`;
  if (response.status === 401) session.close(detail);
  throw new ApiProblem(response.status, detail, problem.hint);
}
