import type { EventClass } from '../vocabulary.js';

/**
 * What a control's evidence is drawn from.
 *
 * - `changes`: every change of the environment, with its verdict
 * - `access`: interactive access, and what gives rights away
 * - `secret_reads`: who read Secrets
 * - `administration`: every change and interactive access, whoever made it
 * - `refused`: failed logins, refused writes and refused interactive access
 * - `identities`: writes of what says who somebody is and what they may do
 * - `system_objects`: creation and deletion of what a cluster as a whole runs by
 * - `ledger_access`: requests to this ledger
 * - `interruptions`: sources that were added and disabled, and times of which events are known to be missing
 * - `retention`: how records were kept: policies followed, the archive, legal holds, payloads that were erased
 * - `protection`: how records were kept from being altered: checkpoints and their copies, payloads that were erased
 */
export type Population = ChangePopulation | 'ledger_access' | 'interruptions' | 'retention' | 'protection';
/** What is done with records, and no record itself. */
const UNPROVABLE: readonly Population[] = ['interruptions', 'retention', 'protection'];
/** Those whose members are changes, or requests that could have become one: they have events, proofs and a place in OCSF. */
export type ChangePopulation =
  | 'changes'
  | 'access'
  | 'secret_reads'
  | 'administration'
  | 'refused'
  | 'identities'
  | 'system_objects';

export function isOfChanges(population: Population): population is ChangePopulation {
  return population !== 'ledger_access' && isProvable(population);
}

/** Whether each row is a record with a place in the proof log: sources, gaps and what was done with records have none. */
export function isProvable(population: Population): boolean {
  return !UNPROVABLE.includes(population);
}

/** The classes of events that a population's members are drawn from; none where they are no requests to a cluster. */
export function classesOf(population: Population): readonly EventClass[] {
  if (!isOfChanges(population)) return [];
  if (population === 'secret_reads') return ['secret_read'];
  return population === 'refused' ? ['rejected', 'failed_auth'] : ['change', 'access'];
}

export interface Control {
  /** In URLs and on the command line. */
  id: string;
  framework: string;
  /** As the framework numbers it. */
  reference: string;
  /** In our own words: what the control asks for, as far as a ledger of changes can show it. */
  statement: string;
  population: Population;
}

/**
 * The controls that a report can be made for. A ledger shows what was done and what it was checked against; whether a
 * process is suitable is the auditor's to say.
 */
export const CONTROLS: readonly Control[] = [
  {
    id: 'soc2-cc8.1',
    framework: 'SOC 2',
    reference: 'CC8.1',
    statement:
      'Changes to the environment are authorized, reviewed and approved before they are made, and those made otherwise are known and dealt with.',
    population: 'changes',
  },
  {
    id: 'soc2-cc7.2',
    framework: 'SOC 2',
    reference: 'CC7.2',
    statement:
      'Operations are watched for what could be an attack or an error: direct access to running workloads, and rights that are given away, are recorded and looked at.',
    population: 'access',
  },
  {
    id: 'pci-6.5.1',
    framework: 'PCI DSS 4.0.1',
    reference: '6.5.1',
    statement:
      'Each change to production has a documented reason and an approval by someone authorized to give it.',
    population: 'changes',
  },
  {
    id: 'pci-6.5.4',
    framework: 'PCI DSS 4.0.1',
    reference: '6.5.4',
    statement:
      'Whoever writes a change is not the only one who lets it into production: roles are separated, so that changes are reviewed and approved.',
    population: 'changes',
  },
  {
    id: 'pci-10.2',
    framework: 'PCI DSS 4.0.1',
    reference: '10.2',
    statement:
      'Audit logs record individual access to confidential data: who read which Secret, when, and from where.',
    population: 'secret_reads',
  },
  {
    id: 'pci-10.2.1.1',
    framework: 'PCI DSS 4.0.1',
    reference: '10.2.1.1',
    statement:
      'Whoever reaches confidential data is recorded as an individual: who read which Secret, and when.',
    population: 'secret_reads',
  },
  {
    id: 'pci-10.2.1.2',
    framework: 'PCI DSS 4.0.1',
    reference: '10.2.1.2',
    statement:
      'What is done with administrative rights is recorded, the interactive use of accounts of programs too: every change, and every access to a running workload.',
    population: 'administration',
  },
  {
    id: 'pci-10.2.1.3',
    framework: 'PCI DSS 4.0.1',
    reference: '10.2.1.3',
    statement:
      'Access to the audit log is recorded: every request to this ledger. Whoever reads an API server’s own files, a bucket or the database is recorded there.',
    population: 'ledger_access',
  },
  {
    id: 'pci-10.2.1.4',
    framework: 'PCI DSS 4.0.1',
    reference: '10.2.1.4',
    statement:
      'Access attempts that are not valid are recorded: failed logins, refused writes and refused access to workloads. Refused reads are recorded as reads, and are not in this list.',
    population: 'refused',
  },
  {
    id: 'pci-10.2.1.5',
    framework: 'PCI DSS 4.0.1',
    reference: '10.2.1.5',
    statement:
      'Changes of identities and rights are recorded: accounts that are made, changed and deleted, roles and bindings, tokens and certificates.',
    population: 'identities',
  },
  {
    id: 'pci-10.2.1.6',
    framework: 'PCI DSS 4.0.1',
    reference: '10.2.1.6',
    statement:
      'That audit logs begin, stop and pause is recorded: sources that were added and disabled, and every time of which events are known to be missing.',
    population: 'interruptions',
  },
  {
    id: 'pci-10.2.1.7',
    framework: 'PCI DSS 4.0.1',
    reference: '10.2.1.7',
    statement:
      'Creation and deletion of objects that the system as a whole runs by is recorded: nodes, namespaces, definitions of resources, admission, storage and priority classes, cluster-wide rights, daemons.',
    population: 'system_objects',
  },
  {
    id: 'pci-10.4',
    framework: 'PCI DSS 4.0.1',
    reference: '10.4',
    statement: 'Audit logs are reviewed for anomalies; access with elevated rights is part of the review.',
    population: 'access',
  },
  {
    id: 'pci-10.5',
    framework: 'PCI DSS 4.0.1',
    reference: '10.5',
    statement:
      'The history of audit logs is kept and can be analysed: which policy was followed, what lies in the archive and was read back from it, what was held and erased, and of which times events are missing.',
    population: 'retention',
  },
  {
    id: 'iso-a.8.32',
    framework: 'ISO 27001:2022',
    reference: 'A.8.32',
    statement: 'Changes to systems follow a procedure of change management.',
    population: 'changes',
  },
  {
    id: 'iso-a.8.15',
    framework: 'ISO 27001:2022',
    reference: 'A.8.15',
    statement: 'Logs of activities are produced, kept, protected and analysed.',
    population: 'access',
  },
  {
    id: 'nist-cm-3',
    framework: 'NIST 800-53',
    reference: 'CM-3',
    statement: 'Changes under configuration control are reviewed, approved, documented and audited.',
    population: 'changes',
  },
  {
    id: 'nist-cm-5',
    framework: 'NIST 800-53',
    reference: 'CM-5',
    statement:
      'Only those who are authorized change the system, and what they change is enforced and recorded.',
    population: 'changes',
  },
  {
    id: 'nist-au-3',
    framework: 'NIST 800-53',
    reference: 'AU-3',
    statement:
      'Records say what happened, when, where, from which source, with which outcome, and who did it.',
    population: 'access',
  },
  {
    id: 'nist-au-6',
    framework: 'NIST 800-53',
    reference: 'AU-6',
    statement: 'Records are reviewed for unusual activity, and findings are reported.',
    population: 'access',
  },
  {
    id: 'nist-au-9',
    framework: 'NIST 800-53',
    reference: 'AU-9',
    statement:
      'Records are protected from being altered or deleted, and alteration is detected: the checkpoints that were signed over all of them, where copies of these lie and until when they are locked, and what was erased lawfully.',
    population: 'protection',
  },
  {
    id: 'nist-au-11',
    framework: 'NIST 800-53',
    reference: 'AU-11',
    statement:
      'Records are kept for the time that is asked for: which policy was followed, what lies in the archive, and what was held and erased.',
    population: 'retention',
  },
  {
    id: 'cis-3.2',
    framework: 'CIS Kubernetes Benchmark',
    reference: '3.2',
    statement: 'The cluster is audited by a policy that covers the key security concerns.',
    population: 'access',
  },
];

export function findControl(id: string): Control | undefined {
  return CONTROLS.find((control) => control.id === id);
}
