import type { Command } from 'commander';
import { type Context, createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { PrivateFile } from '../private-file.js';
import { age, clock, duration } from '../render/text.js';
import { secondsOption } from '../s3-location.js';
import { writeTable } from './lists.js';
import {
  addS3Source,
  refuseS3Options,
  type S3SourceFlags,
  s3SourceCommands,
  s3SourceOptions,
} from './s3-sources.js';

interface Source {
  name: string;
  cluster: string;
  disabledAt: string | null;
  credentials: Array<{ kind: string; expiresAt: string | null; revokedAt: string | null }>;
  health: {
    state: string;
    lastReceivedAt: string | null;
    lagSeconds: number | null;
    events: number;
    duplicates: number;
    quarantined: number;
    openGaps: number;
  };
  metrics?: { url: string; error: string | null };
  canary?: { namespace: string; error: string | null };
}

interface Issued {
  source: Source;
  kubeconfig: string;
}

interface IssueFlags extends GlobalFlags {
  clientCert?: boolean;
  kubeconfig?: string;
}

/** The kubeconfig goes to stdout or a file that only its owner can read; what to do with it, to stderr. */
async function issue(context: Context, flags: IssueFlags, path: string, body: object): Promise<void> {
  const file = flags.kubeconfig === undefined ? undefined : new PrivateFile(flags.kubeconfig);
  let issued: Issued;
  try {
    issued = await context.client.post<Issued>(path, {
      ...body,
      kind: flags.clientCert ? 'client_cert' : 'token',
    });
  } catch (error) {
    file?.discard();
    throw error;
  }
  file?.write(issued.kubeconfig);
  if (writeStructured(context, file ? { source: issued.source } : issued)) return;
  if (!file) context.out(issued.kubeconfig);
  context.err(`
This kubeconfig is shown once. Put it where the apiserver of cluster "${issued.source.cluster}" can read it, and start it with
  --audit-policy-file=POLICY --audit-webhook-config-file=${flags.kubeconfig ?? 'FILE'}
`);
}

export function sourceCommands(program: Command): void {
  const source = program
    .command('source')
    .description('where audit events come from: apiservers that send them, buckets that are read');
  examples(source, [
    ['source list', 'is everything arriving?'],
    ['source status', 'how far is each, and what is wrong?'],
    ['source add prod-a --cluster prod > webhook-kubeconfig.yaml', 'connect an apiserver'],
    ['source add s3://audit-logs/prod/ --cluster prod', 'read and follow a bucket'],
  ]);
  addCommand(source);
  listCommand(source);
  rotateCommand(source);
  disableCommand(source);
  s3SourceCommands(source);
  setCommand(source);
}

function probesText({ metrics, canary }: Source): string {
  const state = (name: string, probe: { error: string | null } | undefined) =>
    probe ? [`${name} ${probe.error === null ? 'ok' : 'failing'}`] : [];
  return [...state('metrics', metrics), ...state('canary', canary)].join(', ');
}

function addCommand(source: Command): void {
  const command = source
    .command('add')
    .description('add an apiserver, and print its kubeconfig for --audit-webhook-config-file; or a bucket')
    .argument('<NAME>', 'lower-case letters, digits, - and .; or s3://BUCKET/PREFIX')
    .requiredOption('--cluster <cluster>', 'the cluster it belongs to; made if it is new')
    .option('--client-cert', 'a client certificate instead of a token')
    .option('--kubeconfig <file>', 'write the kubeconfig there, mode 600');
  s3SourceOptions(command);
  examples(command, [
    ['source add s3://audit-logs/prod/ --cluster prod --region eu-central-1', 'a prefix of a bucket'],
    ['source add prod-a --cluster prod > webhook-kubeconfig.yaml', 'by token'],
    ['source add prod-b --cluster prod --client-cert --kubeconfig prod-b.yaml', 'by client certificate'],
  ]).action(async (name: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<IssueFlags & S3SourceFlags & { cluster: string }>();
    if (name.startsWith('s3://')) return addS3Source(name, flags);
    refuseS3Options(flags);
    await issue(createContext(flags, 'one'), flags, '/v1/sources', { name, cluster: flags.cluster });
  });
}

function rotateCommand(source: Command): void {
  const command = source
    .command('rotate')
    .description('a new credential; the old ones stay valid for the overlap')
    .argument('<NAME>', 'as `source list` shows it')
    .option(
      '--overlap <duration>',
      'how long the old ones stay valid (default 24h)',
      secondsOption('--overlap'),
    )
    .option('--client-cert', 'a client certificate instead of a token')
    .option('--kubeconfig <file>', 'write the kubeconfig there, mode 600');
  examples(command, [
    ['source rotate prod-a --kubeconfig webhook-kubeconfig.yaml', 'the old token goes on for a day'],
    ['source rotate prod-a --overlap 0s > webhook-kubeconfig.yaml', 'the old token ends at once'],
  ]).action(async (name: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<IssueFlags & { overlap?: number }>();
    await issue(createContext(flags, 'one'), flags, `/v1/sources/${encodeURIComponent(name)}/rotate`, {
      overlapSeconds: flags.overlap ?? 86_400,
    });
  });
}

function listCommand(source: Command): void {
  const command = source.command('list').description('sources and their health');
  examples(command, [
    ['source list', 'state, lag and credentials of each'],
    ['source list -o json', 'for a script'],
  ]).action(async (_flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>());
    const { now, utc } = context.view;
    const { items } = await context.client.get<{ items: Source[] }>('/v1/sources');
    writeTable(context, items, [
      { head: 'NAME', value: (row) => row.name },
      { head: 'CLUSTER', value: (row) => row.cluster },
      { head: 'STATE', value: (row) => row.health.state },
      {
        head: 'LAST BATCH',
        value: ({ health }) => (health.lastReceivedAt ? `${age(health.lastReceivedAt, now)} ago` : 'never'),
      },
      {
        head: 'LAG',
        value: ({ health }) => (health.lagSeconds === null ? '' : duration(health.lagSeconds)),
      },
      { head: 'EVENTS', value: (row) => String(row.health.events) },
      { head: 'DUPLICATES', value: (row) => String(row.health.duplicates) },
      { head: 'QUARANTINED', value: (row) => String(row.health.quarantined) },
      { head: 'GAPS', value: (row) => String(row.health.openGaps) },
      { head: 'PROBES', value: probesText },
      {
        head: 'CREDENTIALS',
        value: (row) =>
          row.credentials
            .filter((item) => !item.revokedAt)
            .map((item) => (item.expiresAt ? `${item.kind} until ${clock(item.expiresAt, utc)}` : item.kind))
            .join(', '),
        flexible: true,
      },
    ]);
  });
}

function disableCommand(source: Command): void {
  const command = source
    .command('disable')
    .description('take no more events from a source')
    .argument('<NAME>', 'as `source list` shows it');
  examples(command, [['source disable prod-a', 'its posts are refused from now on']]).action(
    async (name: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const disabled = await context.client.post<Source>(`/v1/sources/${encodeURIComponent(name)}/disable`);
      if (!writeStructured(context, disabled)) context.out(`${disabled.name} is disabled\n`);
    },
  );
}

interface SetFlags extends GlobalFlags {
  metricsUrl?: string;
  metricsTokenFile?: string;
  metricsCaFile?: string;
  metricsCertFile?: string;
  metricsKeyFile?: string;
  metrics?: false;
  canaryKubeconfig?: string;
  canaryNamespace?: string;
  canary?: false;
}

/** A credential stays where it is; the server is told where it finds it. */
function reference(file: string | undefined): string | undefined {
  return file === undefined || /^(env|file):/.test(file) ? file : `file:${file}`;
}

function setCommand(source: Command): void {
  const command = source
    .command('set')
    .description('how the apiserver of a source is asked what it has told; files are paths on the server')
    .argument('<NAME>', 'as `source list` shows it')
    .option('--metrics-url <url>', 'its /metrics, such as https://10.0.0.5:6443/metrics')
    .option('--metrics-token-file <file>', 'a token for it, in the server\u2019s folder of credentials')
    .option('--metrics-ca-file <file>', 'the CA of its certificate')
    .option('--metrics-cert-file <file>', 'a client certificate for it, with --metrics-key-file')
    .option('--metrics-key-file <file>', 'the key of that')
    .option('--no-metrics', 'no longer read its counters')
    .option('--canary-kubeconfig <file>', 'write a Lease through it every five minutes, which must come back')
    .option('--canary-namespace <namespace>', 'where (default kube-system)')
    .option('--no-canary', 'no longer write canaries');
  const folder = '/var/lib/whochanged/credentials';
  examples(command, [
    [
      `source set prod-a --metrics-url https://10.0.0.5:6443/metrics --metrics-token-file ${folder}/prod.token --metrics-ca-file ${folder}/prod-ca.crt`,
      'compare what arrives with what it counts',
    ],
    [`source set prod-a --canary-kubeconfig ${folder}/prod-a.yaml`, 'and write canaries'],
  ]).action(async (name: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<SetFlags>();
    const context = createContext(flags, 'one');
    const body = { metrics: metricsOf(flags), canary: canaryOf(flags) };
    if (body.metrics === undefined && body.canary === undefined)
      throw new CliError(EXIT.usage, 'nothing to set', 'give --metrics-url or --canary-kubeconfig');
    const set = await context.client.put<Source>(`/v1/sources/${encodeURIComponent(name)}/probes`, body);
    if (writeStructured(context, set)) return;
    context.out(
      `${set.name}: metrics ${set.metrics?.url ?? 'not read'}, canaries ${set.canary ? `in ${set.canary.namespace}` : 'not written'}\n`,
    );
  });
}

function metricsOf(flags: SetFlags): object | null | undefined {
  if (flags.metrics === false) return null;
  const { metricsTokenFile, metricsCaFile, metricsCertFile, metricsKeyFile } = flags;
  if (flags.metricsUrl === undefined) {
    if (metricsTokenFile ?? metricsCaFile ?? metricsCertFile ?? metricsKeyFile)
      throw new CliError(EXIT.usage, 'a credential for metrics, and no URL', 'give --metrics-url with it');
    return undefined;
  }
  return {
    url: flags.metricsUrl,
    token: reference(metricsTokenFile),
    ca: reference(metricsCaFile),
    cert: reference(metricsCertFile),
    key: reference(metricsKeyFile),
  };
}

function canaryOf(flags: SetFlags): object | null | undefined {
  if (flags.canary === false) return null;
  if (flags.canaryKubeconfig === undefined) return undefined;
  return { kubeconfig: reference(flags.canaryKubeconfig), namespace: flags.canaryNamespace };
}
