import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WhochangedError } from '../../core/errors.js';
import { readConfig } from '../../main/config.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whochanged-config-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** The lines of the one error that tells every problem. */
function problemsOf(environment: Record<string, string>): string[] {
  try {
    readConfig(environment);
  } catch (error) {
    if (!(error instanceof WhochangedError)) throw error;
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  return [];
}

async function file(name: string, content: string): Promise<string> {
  await writeFile(join(folder, name), content);
  return join(folder, name);
}

describe('readConfig', () => {
  it('needs nothing to be set', () => {
    const config = readConfig({});
    expect(config).toMatchObject({
      dataDir: resolve('data'),
      roles: ['ingest', 'api', 'jobs'],
      http: { host: '127.0.0.1', port: 8080 },
      https: {
        host: '0.0.0.0',
        port: 8443,
        certFile: undefined,
        keyFile: undefined,
        hostnames: ['127.0.0.1'],
      },
      publicURL: 'https://127.0.0.1:8443',
      database: { url: undefined },
      redaction: { keyFile: resolve('data/keys/redaction.key') },
      spool: { dir: resolve('data/spool') },
      logLevel: 'info',
    });
  });

  it('reads the environment over the file, and takes lists from the file', async () => {
    const path = await file(
      'both.yaml',
      'WHOCHANGED_HTTP_PORT: 9000\nWHOCHANGED_HTTPS_PORT: 9001\nWHOCHANGED_ROLES: [jobs, ingest]\nDATABASE_URL: postgres://a@b/c\n',
    );
    const config = readConfig({
      WHOCHANGED_CONFIG: path,
      WHOCHANGED_HTTP_PORT: '9002',
      WHOCHANGED_HTTPS_PORT: '',
    });
    expect(config.http.port).toBe(9002);
    expect(config.https.port).toBe(9001);
    expect(config.roles).toEqual(['ingest', 'jobs']);
    expect(config.database.url).toBe('postgres://a@b/c');
  });

  it('puts the public host into our own certificate', () => {
    const { https } = readConfig({
      WHOCHANGED_PUBLIC_URL: 'https://audit.example.com',
      WHOCHANGED_TLS_HOSTNAMES: 'a.example.com, 10.0.0.5',
    });
    expect(https.hostnames).toEqual(['a.example.com', '10.0.0.5', 'audit.example.com']);
    expect(readConfig({ WHOCHANGED_PUBLIC_URL: 'https://[fd00::1]:8443' }).https.hostnames).toEqual([
      'fd00::1',
    ]);
  });

  it('tells every problem at once, with its variable and an example', async () => {
    const problems = problemsOf({
      WHOCHANGED_HTTP_PORT: 'eighty',
      WHOCHANGED_ROLES: 'ingest,web',
      WHOCHANGED_LOG_LEVEL: 'loud',
      WHOCHANGED_PUBLIC_URL: 'http://audit.example.com',
      WHOCHANGED_TLS_CERT_FILE: join(folder, 'absent.crt'),
      WHOCHANGED_TLS_HOSTNAMES: 'not a name',
    });
    expect(problems).toEqual([
      'WHOCHANGED_HTTP_PORT: expected a whole number from 0 to 65535, such as 8080, got "eighty"',
      expect.stringMatching(
        /^WHOCHANGED_TLS_CERT_FILE: cannot read .*absent\.crt: ENOENT.*; name a file, such as \/etc\/whochanged\/tls_cert$/,
      ),
      'WHOCHANGED_PUBLIC_URL: expected a URL such as https://audit.example.com:8443',
      'WHOCHANGED_ROLES: expected some of ingest,api,jobs, got "ingest,web"',
      'WHOCHANGED_LOG_LEVEL: expected one of trace, debug, info, warn, error, fatal, silent, got "loud"',
      expect.stringMatching(/^WHOCHANGED_TLS_CERT_FILE and WHOCHANGED_TLS_KEY_FILE: only one is set/),
      'WHOCHANGED_TLS_HOSTNAMES: "not a name" is neither a DNS name nor an IP address, such as audit.example.com,10.0.0.5',
    ]);
  });

  it.each([
    ['WHOCHANGED_HTTP_PORT', '65536'],
    ['WHOCHANGED_HTTP_PORT', '-1'],
    ['WHOCHANGED_HTTP_PORT', '0x50'],
    ['WHOCHANGED_HTTP_PORT', '80.5'],
    ['WHOCHANGED_HTTP_PORT', ' '],
    ['WHOCHANGED_DATABASE_POOL', '1'],
    ['WHOCHANGED_ROLES', ','],
    ['WHOCHANGED_HTTP_ALLOW_REMOTE', 'yes'],
    ['WHOCHANGED_TLS_KEY_FILE', '/'],
    ['DATABASE_URL', 'mysql://a@b/c'],
    ['DATABASE_URL', 'db.example.com'],
  ])('refuses %s=%s', (name, value) => {
    const problems = problemsOf({
      [name]: value,
      ...(name === 'WHOCHANGED_HTTP_ALLOW_REMOTE' && { WHOCHANGED_HTTP_HOST: '0.0.0.0' }),
    });
    expect(problems[0]).toContain(`${name}: `);
  });

  it('takes the URL of a unix socket', () => {
    const url = 'postgres://whochanged@/ledger?host=/run/postgresql';
    expect(readConfig({ DATABASE_URL: url }).database.url).toBe(url);
  });

  it('never repeats what may be a password', async () => {
    expect(problemsOf({ DATABASE_URL: 'postgres//user:hunter2@db/x' }).join()).not.toContain('hunter2');
    const path = await file('broken.yaml', 'DATABASE_URL: postgres://u:hunter2@db/x\nother: "hunter2\n');
    const problems = problemsOf({ WHOCHANGED_CONFIG: path });
    expect(problems.join()).not.toContain('hunter2');
    expect(problems[0]).toMatch(
      /^WHOCHANGED_CONFIG: cannot use .*broken\.yaml: it is not YAML: MISSING_CHAR in line \d/,
    );
  });

  it('serves plain HTTP on loopback only, unless it is told that it may', () => {
    for (const host of ['127.0.0.1', '127.0.1.1', '::1', 'localhost'])
      expect(problemsOf({ WHOCHANGED_HTTP_HOST: host })).toEqual([]);
    for (const host of ['0.0.0.0', '::', '10.0.0.5', 'example.com', '127.0.0.1.example.com']) {
      expect(problemsOf({ WHOCHANGED_HTTP_HOST: host })[0]).toMatch(
        /is not a loopback address .* plain HTTP would carry tokens in the clear/,
      );
      expect(problemsOf({ WHOCHANGED_HTTP_HOST: host, WHOCHANGED_HTTP_ALLOW_REMOTE: 'true' })).toEqual([]);
    }
  });

  it('refuses one port for both listeners', () => {
    expect(problemsOf({ WHOCHANGED_HTTP_PORT: '8443' })[0]).toContain('both are 8443');
    expect(problemsOf({ WHOCHANGED_HTTP_PORT: '0', WHOCHANGED_HTTPS_PORT: '0' })).toEqual([]);
  });

  it('explains a variable that Kubernetes set for a Service', () => {
    expect(problemsOf({ WHOCHANGED_HTTP_PORT: 'tcp://10.96.0.12:8080' })[0]).toContain(
      'enableServiceLinks: false',
    );
    // Others that it sets are none of ours.
    expect(
      problemsOf({
        WHOCHANGED_SERVICE_HOST: '10.96.0.12',
        WHOCHANGED_PORT_8443_TCP: 'tcp://10.96.0.12:8443',
      }),
    ).toEqual([]);
  });

  it.each([
    [
      'WHOCHANGED_HTPP_PORT: 8080',
      /^WHOCHANGED_HTPP_PORT in .*: there is no such variable; those there are: DATABASE_URL, .*WHOCHANGED_HTTP_PORT/,
    ],
    ['http:\n  port: 8080', /^http in .*: expected one value/],
    ['WHOCHANGED_HTTP_PORT:', /^WHOCHANGED_HTTP_PORT in .*: expected one value/],
    ['- 8080', /^WHOCHANGED_CONFIG: cannot use .*: it is not a map/],
  ])('refuses the file %j', async (content, problem) => {
    expect(problemsOf({ WHOCHANGED_CONFIG: await file('refused.yaml', content) })[0]).toMatch(problem);
  });

  it('takes an empty file, and says when there is none', async () => {
    expect(problemsOf({ WHOCHANGED_CONFIG: await file('empty.yaml', '# nothing yet\n') })).toEqual([]);
    expect(problemsOf({ WHOCHANGED_CONFIG: join(folder, 'absent.yaml') })[0]).toMatch(
      /^WHOCHANGED_CONFIG: cannot use .*ENOENT/,
    );
  });
});
