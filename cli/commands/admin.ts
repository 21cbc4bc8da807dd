import { writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { type Context, createContext, type GlobalFlags, writeStructured } from '../context.js';
import { CliError, EXIT } from '../exit.js';
import { age, clock } from '../render/text.js';
import { writeTable } from './lists.js';

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
  };
}

interface Issued {
  source: Source;
  kubeconfig: string;
}

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

function seconds(value: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(value);
  if (!match)
    throw new CliError(EXIT.usage, `--overlap ${value}: no duration`, 'write it like 30m, 24h or 7d');
  return Number(match[1]) * SECONDS[match[2]!]!;
}

/** The kubeconfig goes to stdout or a file that only its owner can read; what to do with it, to stderr. */
function writeIssued(context: Context, issued: Issued, file: string | undefined): void {
  if (context.output !== 'table' && writeStructured(context, issued)) return;
  if (file === undefined) context.out(issued.kubeconfig);
  else writeFileSync(file, issued.kubeconfig, { mode: 0o600 });
  context.err(`
This kubeconfig is shown once. Put it where the apiserver of cluster "${issued.source.cluster}" can read it, and start it with
  --audit-policy-file=POLICY --audit-webhook-config-file=${file ?? 'FILE'}
`);
}

export function adminCommands(program: Command): void {
  const source = program.command('source').description('the apiservers that send their audit events');
  source
    .command('add')
    .description('add an apiserver; prints the kubeconfig for --audit-webhook-config-file')
    .argument('<NAME>')
    .requiredOption('--cluster <cluster>', 'the cluster it belongs to; made if it is new')
    .option('--client-cert', 'a client certificate instead of a token')
    .option('--kubeconfig <file>', 'write the kubeconfig there, mode 600')
    .addHelpText(
      'after',
      `
Examples:
  whochanged source add prod-a --cluster prod > webhook-kubeconfig.yaml
  whochanged source add prod-b --cluster prod --client-cert --kubeconfig prod-b.yaml`,
    )
    .action(async (name: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<
        GlobalFlags & { cluster: string; clientCert?: boolean; kubeconfig?: string }
      >();
      const context = createContext(flags);
      writeIssued(
        context,
        await context.client.post<Issued>('/v1/sources', {
          name,
          cluster: flags.cluster,
          kind: flags.clientCert ? 'client_cert' : 'token',
        }),
        flags.kubeconfig,
      );
    });
  source
    .command('list')
    .description('sources and their health')
    .action(async (_flags: unknown, command: Command) => {
      const context = createContext(command.optsWithGlobals<GlobalFlags>());
      const { items } = await context.client.get<{ items: Source[] }>('/v1/sources');
      writeTable(context, items, [
        { head: 'NAME', value: (row) => row.name },
        { head: 'CLUSTER', value: (row) => row.cluster },
        { head: 'STATE', value: (row) => row.health.state },
        {
          head: 'LAST BATCH',
          value: (row) =>
            row.health.lastReceivedAt ? `${age(row.health.lastReceivedAt, context.view.now)} ago` : 'never',
        },
        {
          head: 'LAG',
          value: (row) => (row.health.lagSeconds === null ? '' : `${row.health.lagSeconds.toFixed(1)}s`),
        },
        { head: 'EVENTS', value: (row) => String(row.health.events) },
        { head: 'DUPLICATES', value: (row) => String(row.health.duplicates) },
        { head: 'QUARANTINED', value: (row) => String(row.health.quarantined) },
        {
          head: 'CREDENTIALS',
          value: (row) =>
            row.credentials
              .filter((item) => !item.revokedAt)
              .map(
                (item) =>
                  `${item.kind}${item.expiresAt ? ` until ${clock(item.expiresAt, context.view.utc)}` : ''}`,
              )
              .join(', '),
          flexible: true,
        },
      ]);
    });
  source
    .command('rotate')
    .description('a new credential; the old ones stay valid for the overlap')
    .argument('<NAME>')
    .option('--overlap <duration>', 'how long the old ones stay valid', seconds, 86_400)
    .option('--client-cert', 'a client certificate instead of a token')
    .option('--kubeconfig <file>', 'write the kubeconfig there, mode 600')
    .action(async (name: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<
        GlobalFlags & { overlap: number; clientCert?: boolean; kubeconfig?: string }
      >();
      const context = createContext(flags);
      writeIssued(
        context,
        await context.client.post<Issued>(`/v1/sources/${encodeURIComponent(name)}/rotate`, {
          kind: flags.clientCert ? 'client_cert' : 'token',
          overlapSeconds: flags.overlap,
        }),
        flags.kubeconfig,
      );
    });
  source
    .command('disable')
    .description('take no more events from a source')
    .argument('<NAME>')
    .action(async (name: string, _flags: unknown, command: Command) => {
      const context = createContext(command.optsWithGlobals<GlobalFlags>());
      const disabled = await context.client.post<Source>(`/v1/sources/${encodeURIComponent(name)}/disable`);
      if (!writeStructured(context, disabled, [disabled])) context.out(`${disabled.name} is disabled\n`);
    });

  const token = program.command('token').description('tokens for the API');
  token
    .command('create')
    .description('a new token, shown once')
    .argument('<NAME>')
    .addOption(new Option('--role <role>').choices(['reader', 'operator', 'admin']).default('reader'))
    .option('--expires-at <time>', 'RFC 3339')
    .action(async (name: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { role: string; expiresAt?: string }>();
      const context = createContext(flags);
      const made = await context.client.post<{ token: string }>('/v1/tokens', {
        name,
        role: flags.role,
        ...(flags.expiresAt && { expiresAt: flags.expiresAt }),
      });
      if (!writeStructured(context, made)) context.out(`${made.token}\n`);
    });
  token
    .command('list')
    .description('every token but its secret')
    .action(async (_flags: unknown, command: Command) => {
      const context = createContext(command.optsWithGlobals<GlobalFlags>());
      const { items } = await context.client.get<{
        items: Array<{
          id: number;
          name: string;
          role: string;
          createdAt: string;
          expiresAt: string | null;
          revokedAt: string | null;
        }>;
      }>('/v1/tokens');
      writeTable(context, items, [
        { head: 'ID', value: (row) => String(row.id) },
        { head: 'NAME', value: (row) => row.name, flexible: true },
        { head: 'ROLE', value: (row) => row.role },
        { head: 'CREATED', value: (row) => clock(row.createdAt, context.view.utc) },
        {
          head: 'VALID',
          value: (row) =>
            row.revokedAt
              ? 'revoked'
              : row.expiresAt
                ? `until ${clock(row.expiresAt, context.view.utc)}`
                : 'yes',
        },
      ]);
    });
  token
    .command('revoke')
    .description('end a token')
    .argument('<ID>')
    .action(async (id: string, _flags: unknown, command: Command) => {
      await createContext(command.optsWithGlobals<GlobalFlags>()).client.delete(
        `/v1/tokens/${encodeURIComponent(id)}`,
      );
    });

  const quarantine = program.command('quarantine').description('what could not be accepted');
  quarantine
    .command('list', { isDefault: true })
    .description('the rejected, newest first')
    .addOption(new Option('--state <state>').choices(['open', 'replayed', 'dismissed']))
    .action(async (_flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { state?: string }>();
      const context = createContext(flags);
      const { items } = await context.client.get<{
        items: Array<{
          id: string;
          receivedAt: string;
          source: string;
          reason: string;
          detail: string;
          state: string;
          seen: number;
        }>;
      }>('/v1/quarantine', { state: flags.state });
      writeTable(context, items, [
        { head: 'ID', value: (row) => row.id },
        { head: 'WHEN', value: (row) => clock(row.receivedAt, context.view.utc) },
        { head: 'SOURCE', value: (row) => row.source },
        { head: 'STATE', value: (row) => row.state },
        { head: 'SEEN', value: (row) => String(row.seen) },
        { head: 'REASON', value: (row) => row.reason },
        { head: 'DETAIL', value: (row) => row.detail, flexible: true },
      ]);
    });
  for (const [name, method, description] of [
    ['show', 'get', 'one rejected original, redacted'],
    ['replay', 'post', 'try to accept it again'],
    ['dismiss', 'post', 'mark it as looked at'],
  ] as const) {
    quarantine
      .command(name)
      .description(description)
      .argument('<ID>')
      .action(async (id: string, _flags: unknown, command: Command) => {
        const context = createContext(command.optsWithGlobals<GlobalFlags>());
        const path = `/v1/quarantine/${encodeURIComponent(id)}`;
        const answer =
          method === 'get'
            ? await context.client.get<unknown>(path)
            : await context.client.post<unknown>(`${path}/${name}`);
        if (!writeStructured(context, answer)) context.out(`${JSON.stringify(answer, null, 2)}\n`);
      });
  }
}
