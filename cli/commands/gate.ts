import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { collect, createContext, type GlobalFlags, wholeNumber, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { yaml } from '../on-demand.js';
import { clock } from '../render/text.js';
import { writeTable } from './lists.js';

interface Decision {
  id: string;
  at: string;
  cluster: string;
  mode: string;
  outcome: string;
  operation: string;
  object: { resource: string; subresource?: string; namespace: string; name: string };
  username: string;
  verdict: string | null;
  reason: string | null;
  detail: string;
  event: { changeID: string; agrees: boolean } | null;
}

export function gateCommands(program: Command): void {
  const gate = program
    .command('gate')
    .description('the admission webhook: what it asks for, what it decided');
  examples(gate, [
    ['gate manifest prod --mode warn | kubectl apply -f -', 'have a cluster ask, without refusing anything'],
    ['gate list --outcome denied', 'what was refused'],
  ]);
  listCommand(gate);
  manifestCommand(gate);
  kubeconfigCommand(gate);
  attestCommand(gate);
}

function listCommand(gate: Command): void {
  const command = gate
    .command('list')
    .description('decisions, newest first')
    .option('--cluster <cluster>', 'of this cluster')
    .option('-n, --namespace <namespace>', 'in this namespace')
    .addOption(
      new Option('--outcome <outcome>', 'with this outcome').choices([
        'admitted',
        'warned',
        'denied',
        'failed_open',
        'failed_closed',
      ]),
    )
    .option('--unlinked', 'only those whose audit event has not come')
    .option('--limit <n>', 'at most so many', wholeNumber('--limit', 1, 1000), 50);
  examples(command, [
    ['gate list -n shop --outcome denied', 'what was refused in a namespace'],
    ['gate list --unlinked', 'requests that the audit log never told of'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<
      GlobalFlags & {
        cluster?: string;
        namespace?: string;
        outcome?: string;
        unlinked?: boolean;
        limit: number;
      }
    >();
    const context = createContext(flags);
    const { utc } = context.view;
    const { items } = await context.client.get<{ items: Decision[] }>('/v1/gate/decisions', {
      cluster: flags.cluster,
      namespace: flags.namespace,
      outcome: flags.outcome,
      unlinked: flags.unlinked,
      limit: flags.limit,
    });
    writeTable(context, items, [
      { head: 'WHEN', value: (row) => clock(row.at, utc) },
      { head: 'OUTCOME', value: (row) => row.outcome },
      { head: 'MODE', value: (row) => row.mode },
      {
        head: 'VERDICT',
        value: ({ verdict, reason }) =>
          verdict === null ? 'undecided' : reason === null ? verdict : `${verdict}(${reason})`,
      },
      { head: 'USER', value: (row) => row.username },
      { head: 'DID', value: (row) => row.operation.toLowerCase() },
      {
        head: 'OBJECT',
        value: ({ object: { namespace, resource, subresource, name } }) =>
          `${namespace} ${resource}/${name}${subresource === undefined ? '' : ` (${subresource})`}`.trim(),
      },
      {
        head: 'EVENT',
        value: ({ event }) =>
          event === null ? 'none' : event.agrees ? event.changeID : `${event.changeID} (!)`,
        optional: true,
      },
      { head: 'WHY', value: (row) => row.detail, flexible: true },
    ]);
  });
}

function manifestCommand(gate: Command): void {
  const command = gate
    .command('manifest')
    .description('the ValidatingWebhookConfiguration for a cluster, on stdout')
    .argument('<CLUSTER>', 'as `source list` shows it')
    .addOption(
      new Option('--mode <mode>', 'audit: admit and record; warn: tell; enforce: refuse')
        .choices(['audit', 'warn', 'enforce'])
        .default('audit'),
    )
    .addOption(
      new Option('--fail <how>', 'when whochanged or its database is away: open admits, closed refuses')
        .choices(['open', 'closed'])
        .default('open'),
    )
    .option('--deny-unknown', 'enforce: refuse what is unknown, too')
    .option('--timeout <seconds>', "the apiserver's patience", wholeNumber('--timeout', 1, 30), 5)
    .option('--exempt <namespace>', 'never ask about it (default: kube-system); may be repeated', collect);
  examples(command, [
    ['gate manifest prod | kubectl apply -f -', 'begin with audit'],
    ['gate manifest prod --mode enforce --fail closed --exempt kube-system --exempt argocd', 'later'],
  ]).action(async (cluster: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<
      GlobalFlags & { mode: string; fail: string; denyUnknown?: boolean; timeout: number; exempt?: string[] }
    >();
    const context = createContext(flags, 'YAML file');
    const query = {
      cluster,
      mode: flags.mode,
      failure: flags.fail,
      denyUnknown: flags.denyUnknown,
      timeoutSeconds: flags.timeout,
      exempt: flags.exempt,
    };
    for await (const chunk of context.client.stream('/v1/gate/manifest', query))
      context.out(chunk.toString());
    context.err(
      "The apiserver's credential: see `gate kubeconfig`, for --admission-control-config-file on each apiserver\n",
    );
  });
}

function kubeconfigCommand(gate: Command): void {
  const command = gate
    .command('kubeconfig')
    .description("the admission kubeconfig with a source's credential, on stdout")
    .argument('<FILE>', 'the kubeconfig that `source add --kubeconfig FILE` wrote');
  examples(command, [
    ['gate kubeconfig webhook.yaml > admission.yaml', 'asks nothing of the server; keep it as secret'],
  ]).action(async (file: string, _flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'YAML file');
    context.out(admissionKubeconfig(await readFileOrSay(file), file));
  });
}

/**
 * The users of an admission kubeconfig are named by the webhook's host, with its port where that isn't 443
 * (k8s.io/apiserver/pkg/util/webhook/authentication.go).
 */
function admissionKubeconfig(text: string, file: string): string {
  const config = yaml().parse(text) as {
    clusters?: Array<{ cluster?: { server?: string } }>;
    users?: Array<{ user?: object }>;
  } | null;
  const server = config?.clusters?.[0]?.cluster?.server;
  const user = config?.users?.[0]?.user;
  if (server === undefined || !URL.canParse(server) || user === undefined)
    throw new CliError(EXIT.usage, `${file}: it is no kubeconfig of a source`, 'see `whochanged source add`');
  return yaml().stringify({
    apiVersion: 'v1',
    kind: 'Config',
    users: [{ name: new URL(server).host, user }],
  });
}

async function readFileOrSay(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CliError(EXIT.usage, `${file}: ${(error as Error).message}`);
  }
}

function attestCommand(gate: Command): void {
  const command = gate
    .command('attest')
    .description('tie an image to its commit, by signed SLSA provenance')
    .argument('<FILE>', 'a DSSE envelope, as JSON');
  examples(command, [
    ['gate attest provenance.dsse.json', 'after the build; the policy must name the signer'],
  ]).action(async (file: string, _flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>());
    let envelope: { payloadType?: unknown; payload?: unknown; signatures?: Array<{ sig?: unknown }> };
    try {
      envelope = JSON.parse(await readFileOrSay(file)) as typeof envelope;
    } catch (error) {
      if (error instanceof CliError) throw error;
      throw new CliError(EXIT.usage, `${file}: it is no JSON`);
    }
    const { payloadType, payload, signatures } = envelope;
    const { items } = await context.client.post<{
      items: Array<{ image: string; repository: string; sha: string; signer: string }>;
    }>('/v1/attestations', { payloadType, payload, signatures: signatures?.map(({ sig }) => ({ sig })) });
    const named = items.map((item) => ({ ...item, name: item.image }));
    if (writeStructured(context, { items }, named)) return;
    for (const { image, repository, sha, signer } of items)
      context.out(`${image} was built from ${repository} at ${sha}, says ${signer}\n`);
  });
}
