import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createTransport } from 'nodemailer';
import {
  type AlertNotice,
  emailParts,
  signedHeaders,
  slackBody,
  webhookBody,
} from '../../core/alerts/payload.js';
import { isAllowedURL } from '../../core/alerts/read-receiver.js';
import { isReference, type Receiver } from '../../core/alerts/receiver.js';
import { type CredentialPlaces, readReference } from '../credentials.js';

const ANSWER_MS = 10_000;
const MAX_ERROR_TEXT = 300;

/** What came of telling a receiver. */
export interface Sent {
  /** Of HTTP or SMTP, where there was an answer. */
  status: number | undefined;
  /** undefined: the receiver has it. */
  error: string | undefined;
  /** The receiver as a whole is in trouble, not just with this alert. */
  unreachable: boolean;
  /** How long it asks to be left alone, in seconds. */
  retryAfter: number | undefined;
}

/**
 * Tells a receiver of an alert. Secrets are read by their references at each use; no error holds one.
 * Resolves whatever happens.
 */
export async function send(receiver: Receiver, notice: AlertNotice, places: CredentialPlaces): Promise<Sent> {
  const secrets: string[] = [];
  const secret = async (reference: string) => {
    const text = (await readReference(reference, places)).trim();
    secrets.push(text);
    return text;
  };
  try {
    if (receiver.kind === 'email') return await sendEmail(receiver, notice, secret);
    const url = isReference(receiver.url) ? await secret(receiver.url) : receiver.url;
    if (!isAllowedURL(url))
      throw new Error(`what ${receiver.url} leads to is no URL of https without a password`);
    if (receiver.kind === 'slack') return await post(url, slackBody(notice), {}, undefined);
    const body = webhookBody(notice);
    const key = await secret(receiver.secret);
    const ca = receiver.ca === undefined ? undefined : await readReference(receiver.ca, places);
    return await post(url, body, signedHeaders(key, notice.id, Math.floor(Date.now() / 1000), body), ca);
  } catch (error) {
    const { message, responseCode } = error as Error & { responseCode?: number };
    let text = message.replace(/\s+/g, ' ');
    for (const one of secrets) text = text.replaceAll(one, '…');
    return {
      status: responseCode,
      error: text.slice(0, MAX_ERROR_TEXT),
      // 5xx of SMTP to a recipient is about this mail; all else, a login that fails too, is about the receiver.
      unreachable: !(responseCode !== undefined && responseCode >= 550),
      retryAfter: undefined,
    };
  }
}

/** POSTs a body as JSON. @throws Error where no answer comes; `ca` is of a private authority, PEM */
export function post(
  address: string,
  body: string,
  headers: Record<string, string>,
  ca: string | undefined,
): Promise<Sent> {
  const url = new URL(address);
  return new Promise((resolve, reject) => {
    const options = {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'whochanged',
        ...headers,
      },
      signal: AbortSignal.timeout(ANSWER_MS),
      ...(ca !== undefined && { ca }),
    };
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (response) => {
      // What it says is not kept: it may repeat what it was sent, and where to.
      response.resume();
      const status = response.statusCode ?? 0;
      const after = Number(response.headers['retry-after']);
      const delivered = status >= 200 && status < 300;
      resolve({
        status,
        error: delivered ? undefined : `the receiver answered ${status}`,
        unreachable: status >= 500 || status === 429 || status === 408,
        retryAfter: Number.isFinite(after) && after > 0 ? after : undefined,
      });
    });
    request.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        new Error(
          error.name === 'AbortError' || error.name === 'TimeoutError'
            ? `no answer within ${ANSWER_MS / 1000} s`
            : (error.code ?? error.message),
        ),
      ),
    );
    request.end(body);
  });
}

async function sendEmail(
  receiver: Extract<Receiver, { kind: 'email' }>,
  notice: AlertNotice,
  secret: (reference: string) => Promise<string>,
): Promise<Sent> {
  const { host, port, security, user, password, ca, from, to } = receiver;
  const transport = createTransport({
    host,
    port,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'none',
    ...(user !== undefined && password !== undefined && { auth: { user, pass: await secret(password) } }),
    ...(ca !== undefined && { tls: { ca: await secret(ca) } }),
    connectionTimeout: ANSWER_MS,
    greetingTimeout: ANSWER_MS,
    socketTimeout: ANSWER_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  try {
    const { response } = await transport.sendMail({
      from,
      to: [...to],
      ...emailParts(notice),
      messageId: `<${notice.id}@whochanged>`,
      // Mail programs show the end below the alert.
      ...(notice.raisedID !== notice.id && {
        inReplyTo: `<${notice.raisedID}@whochanged>`,
        references: `<${notice.raisedID}@whochanged>`,
      }),
      headers: { 'auto-submitted': 'auto-generated' },
    });
    return {
      status: Number(response.slice(0, 3)) || undefined,
      error: undefined,
      unreachable: false,
      retryAfter: undefined,
    };
  } finally {
    transport.close();
  }
}
