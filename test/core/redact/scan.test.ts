import { describe, expect, test } from 'vitest';
import { scanText } from '../../../core/redact/scan.js';
import { digest, rules } from './seeded.js';

const scan = (text: string): string => scanText(text, rules, digest);
const JWT = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl';
const PEM = '-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcN\n-----END RSA PRIVATE KEY-----';
const PUBLIC = '-----BEGIN CERTIFICATE-----\nMIIBOgIBAAJBAKj34GkxFhD90vcN\n-----END CERTIFICATE-----';

describe('in text', () => {
  // «...» marks what must be digested.
  test.each([
    ['a URL', 'postgres://app:«hunter2»@db:5432/shop?sslmode=disable'],
    ['a URL with slash and at-sign in the password', 'redis://:«p/w@d»@cache:6379'],
    ['several URLs', 'amqp://u:«one»@a,amqp://u:«two»@b'],
    ['a token as URL user', 'https://«abcdefghij0123456789abcdef»@git.example.com/x.git'],
    ['a Go MySQL DSN', 'root:«hunter2»@tcp(db:3306)/shop?parseTime=true'],
    ['an equals sign', 'host=db password=«hunter2» dbname=shop'],
    ['a connection string', 'Server=db;User Id=sa;Password=«hunter2 and more»'],
    ['an Azure connection string', 'AccountName=x;AccountKey=«abc123==»'],
    ['a properties line', 'url=jdbc:x\ndb.password=«hunter 2»\nuser=app'],
    ['a YAML line', 'user: app\npassword: «hunter 2»\nport: 5432'],
    ['a quoted YAML value', "clientSecret: '«hunter 2»' # comment"],
    ['a YAML block', 'a: 1\nprivateKey: |\n  «line one\n  line two»\nb: 2'],
    ['a YAML value on its own line', 'password:\n  «hunter2»\nuser: app'],
    ['YAML name and value', '- name: DB_PASSWORD\n  value: «hunter2»\n- name: LOG\n  value: debug'],
    ['a YAML flow mapping', '{user: app, password: «hunter2», port: 1}'],
    ['a YAML list', 'passwords: «["a", "b"]»'],
    ['a kubeconfig', 'users:\n- name: a\n  user:\n    client-key-data: «LS0tLS1aaaa»\n    token: «abc.def»'],
    ['JSON that does not parse', '{"user": "app", "password": "«hun\\"ter2»", "n": 1'],
    ['escaped JSON', 'body: {\\"token\\":\\"«abc123»\\",\\"n\\":1}'],
    ['a sentence', 'login failed with password: «hunter2» for bob'],
    ['Ruby', "password => '«hunter2»'"],
    ['a comparison with a literal', 'object.spec.password == "«hunter2»"'],
    ['a header', 'Authorization: «Bearer abcdef123456»'],
    ['a header without blank', 'X-Auth-Token:«0123456789abcdefgh»'],
    ['a bearer token', 'curl -H "x: Bearer «abcdef123456»"'],
    ['basic credentials', 'sent basic «dXNlcjpwYXNz» to it'],
    ['a flag', '--db-password=«hunter2»'],
    ['a flag and its value', 'run --token «abc123» --verbose'],
    ['a shell line', 'export API_KEY=«abc123»\nrun'],
    ['mysql', 'mysql -uroot -p«hunter2» shop'],
    ['curl', 'curl -u bob:«hunter2» https://x'],
    ['redis-cli', 'redis-cli -a «hunter2» ping'],
    ['a JWT', `got «${JWT}» from it`],
    ['a cut JWT', `got «${JWT.slice(0, 34)}»`],
    ['a private key', `before\n«${PEM}»\nafter`],
    ['a cut private key', `before «${PEM.slice(0, 50)}»`],
    ['an AWS key pair', '«AKIAIOSFODNN7EXAMPLE» «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»'],
    ['a GitHub token', 'x «ghp_abcdefghijklmnopqrstuvwxyz0123456789»'],
    ['a Slack webhook', 'https://hooks.slack.com/«services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX»'],
    [
      'a Secret as YAML',
      'kind: Secret\nmetadata:\n  name: a\ndata:\n  x: «aGk=»\n  y: |\n    «two»\ntype: Opaque',
    ],
    ['a Secret after other YAML', 'a: b\n---\nkind: Secret\nstringData: «{a: b}»\n'],
    ['a Secret as JSON that does not parse', 'rejected: «{"kind":"Secret","data":{"a":"aGk="»'],
  ])('%s', (_, marked) => {
    const text = marked.replaceAll(/[«»]/g, '');
    const expected = marked.replaceAll(/«([^»]*)»/g, (__, secret: string) => digest(secret));
    expect(scan(text)).toBe(expected);
    expect(scan(expected)).toBe(expected);
  });

  test.each([
    'nginx:1.27',
    'registry.example.com/vault-secrets:1.2.3',
    'vault-secrets:1.2.3',
    'token:v1',
    'registry.example.com/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    'docker-pullable://quite-a-long-image-name@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    'containerd://9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    '0a81824a-ab56-46c5-8b02-96336f5e78d7',
    '2024-01-01T00:00:00Z',
    'system:serviceaccount:kube-system:token-cleaner',
    'https://example.com/@scope/pkg',
    'git@github.com:a/b.git',
    'https://example.com:8443/a@b',
    'ssh://git@github.com/a/b.git',
    '--token-auth-file=/etc/tokens.csv',
    '--secret-name=web',
    '--authorization-mode=RBAC',
    'TOKEN_TTL=3600',
    'password=$(DB_PASSWORD)',
    'password: $DB_PASSWORD',
    'password: {{ .Values.password }}',
    'MountVolume.SetUp failed for volume "x" : secret "foo" not found',
    'failed to get secret: not found',
    PUBLIC,
    'bearer authentication',
    'object.spec.automountServiceAccountToken == false',
    'secretName: web-tls\nsecretKeyRef:\n  name: a\n  key: password',
    'password:\n  secretKeyRef:\n    name: a',
    'chown -u 1000:1000 /data',
    'webapp.17a3b5c6d7e8f901',
    'token=',
    'enable-token: true',
    'kubelet/v1.28 (linux/amd64) kubernetes/abc',
    'User "bob" cannot list pods in the namespace "default"',
    'apps=web,tier=frontend',
  ])('leaves %s', (text) => {
    expect(scan(text)).toBe(text);
  });

  test('takes linear time on hostile text', () => {
    // CPU time, so that a busy machine makes no difference.
    const cost = (text: string) => {
      const before = process.cpuUsage();
      scan(`x=${text}`);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    };
    const hostile = [
      'eyJ.',
      'eyJ',
      '://',
      'a://u:p@',
      '@tcp(',
      'x:y@tcp(',
      '-----BEGIN ',
      'LS0tLS1CRUdJ',
      'password',
      'password:',
      'password:\n ',
      'password="',
      'token=\\',
      ';token=',
      'bearer ',
      'basic+',
      ' -u',
      '"',
      "'",
      '\\"',
      '{"',
      'name: token ',
      '=',
      ':',
      'kind: Secret\ndata:\n',
      ' ',
      '-',
      'gh',
      'xox',
      'mysql',
      'a ',
      '[redacted:',
      '[redacted:0123456789abcdef]',
    ];
    for (const piece of hostile) {
      const small = cost(piece.repeat(50_000 / piece.length));
      const large = cost(piece.repeat(200_000 / piece.length));
      // Four times as much text; were it quadratic, sixteen times the cost. The constant is for the collector's pauses.
      expect(large, JSON.stringify(piece)).toBeLessThan(10 * small + 150);
    }
  });
});
