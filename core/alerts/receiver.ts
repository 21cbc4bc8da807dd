/** How a receiver is told of alerts. */
export const RECEIVER_KINDS = ['webhook', 'slack', 'email'] as const;
export type ReceiverKind = (typeof RECEIVER_KINDS)[number];

/** A receiver of alerts, as the file of rules names it. It holds references to secrets (`env:` or `file:`), never secrets. */
export type Receiver = { name: string } & (
  | {
      kind: 'webhook';
      /** A URL, or a reference to one. */
      url: string;
      /** Reference to the key that payloads are signed with. */
      secret: string;
      /** Of a private authority, PEM. */
      ca: string | undefined;
    }
  | { kind: 'slack'; url: string }
  | {
      kind: 'email';
      host: string;
      port: number;
      /** `tls` from the first byte, `starttls` or nothing sent, or `none`. */
      security: 'tls' | 'starttls' | 'none';
      user: string | undefined;
      password: string | undefined;
      ca: string | undefined;
      from: string;
      to: readonly string[];
    }
);

/** Where a receiver is, for answers and metrics: a URL is told only as far as its host, since its path may be a secret. */
export function receiverPlace(receiver: Receiver): string {
  if (receiver.kind === 'email') return `${receiver.host}:${receiver.port}`;
  return isReference(receiver.url) ? receiver.url : new URL(receiver.url).origin;
}

export function isReference(text: string): boolean {
  return /^(env:[A-Za-z_][A-Za-z0-9_]*|file:\/.+)$/.test(text);
}
