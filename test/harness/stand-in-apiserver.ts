import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { formatMicros } from '../../core/timestamp.js';
import { createAuthority, issueCertificate } from '../../main/certificates.js';

type Loose = Record<string, unknown>;

const SECOND = 1_000_000;

/**
 * What completeness asks of a kube-apiserver, over real TLS: /metrics in the Prometheus text format, Leases with merge
 * patch and create, a bearer token, and audit events of all that, which it counts as the real one does. It lives on a
 * clock of its own, so that an hour takes no time.
 */
export class StandInApiserver {
  readonly token = `test-${randomUUID()}`;
  readonly caPem: string;
  readonly #server: Server;
  /** Its clock, in microseconds. */
  now = Date.UTC(2026, 2, 2, 9) * 1000;
  /** Whether its policy logs requests for metrics. */
  logsMetrics = false;
  mayWriteLeases = true;
  /** Answers this instead of metrics. */
  metricsAnswer: { status: number; body: string } | undefined;
  errors: Record<string, number> = {};
  #events = 0;
  #startedAt = this.now - 3600 * SECOND;
  #pending: Loose[] = [];
  #lease: Loose | undefined;

  private constructor(server: Server, caPem: string) {
    this.#server = server;
    this.caPem = caPem;
    server.on('request', (request, response) => void this.#answer(request, response));
  }

  static async start(): Promise<StandInApiserver> {
    const authority = await createAuthority(new Date());
    const subject = { commonName: 'kube-apiserver', names: ['127.0.0.1'], usage: 'server' as const, days: 1 };
    const pair = await issueCertificate(authority, subject, new Date());
    const server = createServer({ cert: pair.certificatePem, key: pair.keyPem });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return new StandInApiserver(server, authority.certificatePem);
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get date(): Date {
    return new Date(this.now / 1000);
  }

  wait(seconds: number): void {
    this.now += seconds * SECOND;
  }

  /** Comes up as a new process, with counters at 0; what it had not sent is lost. */
  restart(): void {
    this.#startedAt = this.now;
    this.#events = 0;
    this.#pending = [];
  }

  /** Requests that are audited in two stages each, a millisecond apart. */
  serve(requests: number): void {
    for (let i = 0; i < requests; i++) {
      const parts = {
        auditID: randomUUID(),
        verb: 'get',
        requestURI: '/api/v1/namespaces/shop/pods/web',
        objectRef: { resource: 'pods', namespace: 'shop', name: 'web', apiVersion: 'v1' },
      };
      this.#audit({ ...parts, stage: 'RequestReceived' }, this.now);
      this.now += 1000;
      this.#audit({ ...parts, stage: 'ResponseComplete', responseStatus: { code: 200 } }, this.now - 1000);
    }
  }

  /** What it has to tell, from the oldest on; it is then told, or lost. */
  take(count = this.#pending.length): Loose[] {
    return this.#pending.splice(0, count);
  }

  #audit(parts: Loose, receivedAt: number): void {
    this.#events++;
    this.#pending.push({
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'Metadata',
      user: { username: 'system:serviceaccount:whochanged:probe' },
      requestReceivedTimestamp: formatMicros(receivedAt),
      stageTimestamp: formatMicros(this.now),
      ...parts,
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk as string;
    const receivedAt = this.now;
    const path = request.url!.split('?')[0]!;
    const audited = path !== '/metrics' || this.logsMetrics;
    const parts = {
      auditID: request.headers['audit-id'] ?? randomUUID(),
      verb: { GET: 'get', PATCH: 'patch', POST: 'create' }[request.method!],
      requestURI: request.url!,
      ...(path !== '/metrics' && {
        objectRef: {
          apiGroup: 'coordination.k8s.io',
          resource: 'leases',
          namespace: path.split('/')[5],
          name: path.split('/')[7],
        },
      }),
    };
    if (audited) this.#audit({ ...parts, stage: 'RequestReceived' }, receivedAt);
    const answer = this.#handle(request, path, body);
    // Go writes the Date when it begins to answer, in whole seconds.
    response.setHeader('date', new Date(Math.floor(this.now / SECOND) * 1000).toUTCString());
    response.writeHead(answer.status, { 'content-type': answer.type ?? 'application/json' });
    if (audited) {
      this.now += 2000;
      this.#audit(
        { ...parts, stage: 'ResponseComplete', responseStatus: { code: answer.status } },
        receivedAt,
      );
    }
    response.end(answer.body);
  }

  #handle(
    request: IncomingMessage,
    path: string,
    body: string,
  ): { status: number; body: string; type?: string } {
    const status = (code: number, reason: string) => ({
      status: code,
      body: JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, code }),
    });
    if (request.headers.authorization !== `Bearer ${this.token}`) return status(401, 'Unauthorized');
    if (path === '/metrics')
      return this.metricsAnswer ?? { status: 200, body: this.#metrics(), type: 'text/plain; version=0.0.4' };
    const match = /^\/apis\/coordination\.k8s\.io\/v1\/namespaces\/[^/]+\/leases(\/[^/]+)?$/.exec(path);
    if (!match) return status(404, 'NotFound');
    if (!this.mayWriteLeases) return status(403, 'Forbidden');
    const sent = JSON.parse(body) as { metadata: Loose };
    if (request.method === 'POST') {
      if (this.#lease) return status(409, 'AlreadyExists');
      this.#lease = sent;
      return { status: 201, body };
    }
    if (request.headers['content-type'] !== 'application/merge-patch+json')
      return status(415, 'UnsupportedMediaType');
    if (!this.#lease) return status(404, 'NotFound');
    this.#lease = {
      ...this.#lease,
      ...sent,
      metadata: { ...(this.#lease.metadata as Loose), ...sent.metadata },
    };
    return { status: 200, body: JSON.stringify(this.#lease) };
  }

  #metrics(): string {
    const errors = Object.entries(this.errors).map(
      ([plugin, count]) => `apiserver_audit_error_total{plugin="${plugin}"} ${count}`,
    );
    return [
      '# HELP apiserver_audit_event_total [ALPHA] Counter of audit events generated and sent to the audit backend.',
      '# TYPE apiserver_audit_event_total counter',
      `apiserver_audit_event_total ${this.#events}`,
      ...errors,
      'apiserver_audit_requests_rejected_total 0',
      `process_start_time_seconds ${(this.#startedAt / SECOND).toExponential()}`,
      '',
    ].join('\n');
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}
