import type { Shape } from '../verdict/policy-shape.js';
import { isReference, RECEIVER_KINDS, type Receiver } from './receiver.js';

const ADDRESS = /^[^\s@<>"]+@[^\s@<>"]+$|^[^<>"\r\n]+ <[^\s@<>"]+@[^\s@<>"]+>$/;
const SECURITIES = ['starttls', 'tls', 'none'] as const;

/** A receiver of alerts from the file of rules. Values that may be secret are not repeated in problems. */
export function readReceiver(shape: Shape): Receiver {
  const name = shape.text('name', { required: true, example: 'oncall' });
  if (name !== '' && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
    shape.problem('name', 'is no name', 'letters, digits, dots and dashes, at most 63', 'oncall');
  const kind = shape.oneOf('kind', RECEIVER_KINDS, undefined);
  if (kind === 'slack') {
    shape.only(['name', 'kind', 'url']);
    return { name, kind, url: address(shape) };
  }
  if (kind === 'webhook') {
    shape.only(['name', 'kind', 'url', 'secret', 'ca']);
    return {
      name,
      kind,
      url: address(shape),
      secret: reference(shape, 'secret', true) ?? '',
      ca: reference(shape, 'ca', false),
    };
  }
  shape.only(['name', 'kind', 'host', 'port', 'security', 'user', 'password', 'ca', 'from', 'to']);
  const user = shape.optional('user', 'whochanged');
  const password = reference(shape, 'password', false);
  if ((user === undefined) !== (password === undefined))
    shape.problem(
      'user',
      'and password: only one is set',
      'both, or neither',
      'password: env:WHOCHANGED_CREDENTIAL_SMTP',
    );
  const security = shape.oneOf('security', SECURITIES, 'starttls');
  if (security === 'none' && password !== undefined)
    shape.problem(
      'security',
      'is none, and a password would be sent in the clear',
      'starttls or tls',
      'security: tls',
    );
  const to = shape.texts('to', { required: true, example: '[oncall@example.com]' });
  const from = shape.text('from', { required: true, example: 'whochanged@example.com' });
  for (const [key, addresses] of [
    ['to', to],
    ['from', from === '' ? [] : [from]],
  ] as const)
    if (!addresses.every((one) => ADDRESS.test(one)))
      shape.problem(key, 'holds what is no address', 'addresses of e-mail', `${key}: oncall@example.com`);
  return {
    name,
    kind: 'email',
    host: shape.text('host', { required: true, example: 'smtp.example.com' }),
    port: shape.integer('port', security === 'tls' ? 465 : 587, 1, 65_535, 587),
    security,
    user,
    password,
    ca: reference(shape, 'ca', false),
    from,
    to,
  };
}

/** A URL of https, or of http to this machine; or where one is to be read from. */
function address(shape: Shape): string {
  const text = shape.text('url', { required: true, example: 'env:WHOCHANGED_CREDENTIAL_ONCALL_URL' });
  if (text === '' || isReference(text) || isAllowedURL(text)) return text;
  shape.problem(
    'url',
    'is neither a URL of https without a password, nor a reference to one',
    'https://..., env:NAME or file:/PATH',
    'url: env:WHOCHANGED_CREDENTIAL_ONCALL_URL',
  );
  return 'https://invalid.invalid/';
}

/** Whether alerts may be sent there: by TLS, or without leaving the machine. */
export function isAllowedURL(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  const local = hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
  return protocol === 'https:' || (protocol === 'http:' && local);
}

function reference(shape: Shape, key: string, required: boolean): string | undefined {
  const text = shape.text(key, { required, example: 'env:WHOCHANGED_CREDENTIAL_ONCALL' });
  if (text === '') return undefined;
  if (isReference(text)) return text;
  shape.problem(
    key,
    'is no reference',
    'env:NAME or file:/PATH, so that no secret stands in the file',
    `${key}: env:WHOCHANGED_CREDENTIAL_ONCALL`,
  );
  return undefined;
}
