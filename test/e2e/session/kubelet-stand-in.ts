import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';

/** RFC 6455, section 1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Channels of remotecommand over websockets (k8s.io/apimachinery/pkg/util/remotecommand). */
const STDOUT = 1;
const ERROR = 3;

export interface KubeletStandIn {
  port: number;
  close(): Promise<void>;
}

/**
 * Listens where a node's kubelet would, so that the apiserver has somebody to hand interactive sessions to. It runs
 * nothing: logs are one line, exec and attach over websockets end with success at once, and everything over SPDY is
 * upgraded and hung up on. For the apiserver, and so for its audit events, that is a session like any other.
 *
 * @param port on 127.0.0.1; the node's `daemonEndpoints.kubeletEndpoint.Port` must name it
 */
export async function startKubeletStandIn(port: number): Promise<KubeletStandIn> {
  const server = createServer(selfSignedCertificate(), (request, response) => {
    if (request.url?.startsWith('/containerLogs/')) {
      response.end('listening on :8080\n');
    } else {
      response.statusCode = 404;
      response.end('404 page not found\n');
    }
  });
  server.on('upgrade', (request, socket) => {
    socket.on('error', () => socket.destroy());
    const key = request.headers['sec-websocket-key'];
    if (key) {
      const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((word) => word.trim());
      answerWebSocket(socket, key, offered[0] ?? '');
    } else {
      const offered = String(request.headers['x-stream-protocol-version'] ?? '').split(',');
      answerSpdy(socket, offered[0]?.trim() ?? '');
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: () => closeServer(server) };
}

function answerWebSocket(socket: Duplex, key: string, protocol: string): void {
  const accept = createHash('sha1')
    .update(key + WEBSOCKET_GUID)
    .digest('base64');
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
  );
  if (protocol.endsWith('channel.k8s.io')) {
    socket.write(frame(0x2, Buffer.concat([Buffer.from([STDOUT]), Buffer.from('ok\n')])));
    const success = JSON.stringify({ metadata: {}, status: 'Success' });
    socket.write(frame(0x2, Buffer.concat([Buffer.from([ERROR]), Buffer.from(success)])));
  }
  socket.write(frame(0x8, Buffer.from([0x03, 0xe8])));
  hangUp(socket);
}

function answerSpdy(socket: Duplex, protocol: string): void {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n' +
      `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
  );
  hangUp(socket);
}

/** A little later, so that the apiserver has seen the upgrade before the end. */
function hangUp(socket: Duplex): void {
  setTimeout(() => (socket as Socket).destroy(), 400);
}

/** One unmasked websocket frame of at most 65,535 bytes. */
function frame(opcode: number, payload: Buffer): Buffer {
  const head =
    payload.length < 126
      ? Buffer.from([0x80 | opcode, payload.length])
      : Buffer.from([0x80 | opcode, 126, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([head, payload]);
}

function selfSignedCertificate(): { key: Buffer; cert: Buffer } {
  const folder = mkdtempSync(join(tmpdir(), 'kubelet-stand-in-'));
  try {
    const key = join(folder, 'key.pem');
    const cert = join(folder, 'cert.pem');
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-keyout',
        key,
        '-out',
        cert,
        '-days',
        '2',
        '-subj',
        '/CN=worker-1',
      ],
      { stdio: 'ignore' },
    );
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
