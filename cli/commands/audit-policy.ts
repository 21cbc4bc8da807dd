import { type Command, Option } from 'commander';
import { type AuditNeeds, auditPolicy } from '../../core/audit-policy.js';
import { type GlobalFlags, outputOf } from '../context.js';
import { examples } from '../examples.js';

/** Prints an audit policy for the kube-apiserver. Asks no server. */
export function auditPolicyCommand(program: Command): void {
  const command = program
    .command('audit-policy')
    .description('an audit policy for the kube-apiserver, by what you want to be able to ask')
    .addOption(
      new Option(
        '--secrets <what>',
        'who wrote them, or also which keys changed (values travel to whochanged)',
      )
        .choices(['metadata', 'keys'])
        .default('metadata'),
    )
    .addOption(
      new Option('--configmaps <what>', 'who wrote them, or also which fields changed')
        .choices(['metadata', 'fields'])
        .default('fields'),
    )
    .addOption(
      new Option('--reads <of>', 'all; not those by nodes and the control plane; or of Secrets only')
        .choices(['all', 'people', 'secrets'])
        .default('people'),
    )
    .option('--no-pod-status', "without pods' status that kubelets report")
    .option('--no-managed-fields', 'smaller bodies (Kubernetes 1.23 or later)');
  examples(command, [
    ['audit-policy > policy.yaml', 'the recommended one'],
    ['audit-policy --reads secrets --no-pod-status --no-managed-fields', 'the least volume'],
    ['audit-policy --secrets keys', 'tells which keys of a Secret changed'],
  ]).action((_flags: unknown, called: Command) => {
    const flags = called.opts<{
      secrets: AuditNeeds['secrets'];
      configmaps: AuditNeeds['configMaps'];
      reads: AuditNeeds['reads'];
      podStatus: boolean;
      managedFields: boolean;
    }>();
    outputOf(called.optsWithGlobals<GlobalFlags>(), 'YAML file');
    process.stdout.write(
      auditPolicy({
        secrets: flags.secrets,
        configMaps: flags.configmaps,
        reads: flags.reads,
        podStatus: flags.podStatus,
        managedFields: flags.managedFields,
      }),
    );
  });
}
