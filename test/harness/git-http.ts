import { spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';

export interface GitHttpServer {
  /** Base URL: the repository in folder NAME is at /NAME. */
  url: string;
  /** How often git came without the right credential. */
  refused: number;
  stop(): Promise<void>;
}

/** Serves repositories by git's own http-backend on 127.0.0.1, to those who know the user and password. */
export async function serveGit(
  repositoryFolder: string,
  login: { user: string; password: string },
): Promise<GitHttpServer> {
  const wanted = `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`;
  const state = { refused: 0 };
  const server = createServer((request, response) => {
    if (request.headers.authorization === wanted) runBackend(dirname(repositoryFolder), request, response);
    else {
      state.refused++;
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end('no');
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get refused() {
      return state.refused;
    },
    stop: () => new Promise((done) => server.close(() => done())),
  };
}

/** CGI (RFC 3875), as far as git's backend needs it. */
function runBackend(root: string, request: IncomingMessage, response: ServerResponse): void {
  const [path = '', query = ''] = request.url!.split('?');
  const {
    'content-type': type,
    'content-length': length,
    'content-encoding': encoding,
    'git-protocol': protocol,
  } = request.headers;
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      PATH_INFO: path,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method!,
      ...(type && { CONTENT_TYPE: type }),
      ...(length && { CONTENT_LENGTH: length }),
      ...(encoding && { HTTP_CONTENT_ENCODING: encoding }),
      ...(protocol && { GIT_PROTOCOL: String(protocol) }),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  request.pipe(child.stdin);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.on('close', () => {
    const all = Buffer.concat(chunks);
    const end = all.indexOf('\r\n\r\n');
    const headers = all
      .toString('utf8', 0, end)
      .split('\r\n')
      .map((line) => line.split(': ') as [string, string]);
    const status = headers.find(([name]) => name === 'Status')?.[1] ?? '200';
    for (const [name, value] of headers) if (name !== 'Status') response.setHeader(name, value);
    response.writeHead(Number.parseInt(status, 10)).end(all.subarray(end + 4));
  });
}
