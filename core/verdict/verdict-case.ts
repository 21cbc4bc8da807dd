import type { ChangeTicket, CommitFacts, Person } from '../approval/facts.js';
import type { SamePerson } from '../approval/same-person.js';
import type { Attribution } from '../attribution/attribution.js';
import type { ContentComparison } from '../links/compare-content.js';
import type { LinkDecision, LinkedSource, Subject } from '../links/link.js';
import type { SyncPlace } from '../links/sync.js';
import type { Environment, PolicyVersion } from './policy.js';
import type { ChangeNames } from './tickets.js';
import type { Verdict, VerdictName, VerdictReason } from './verdict.js';

/** The commits behind one source of a link: every one since what was deployed before that touches the path. */
export interface SourceCommits {
  source: LinkedSource;
  commits: CommitFacts[];
  /** When these first went live, in microseconds. */
  deployedAt: number;
  /** Why they can't be told. */
  unavailable?: string;
  /** What to know about the range, such as that its beginning isn't known. */
  note?: string;
}

/** A change with all that its verdict rests on. The store gathers it (store/verdict-evidence.ts); deciding is pure. */
export interface VerdictCase {
  subject: Subject;
  policy: PolicyVersion;
  decision: LinkDecision;
  attribution: Attribution | undefined;
  /** What is said of the change that gave a consequence its content; undefined: nothing yet. */
  root: { verdict: VerdictName; reason?: VerdictReason } | undefined;
  sources: SourceCommits[];
  /** Where the sync stands among those of its application. */
  place: SyncPlace['kind'] | undefined;
  /** An earlier change by others that this one takes back. */
  undoes: { changeID: string; username: string } | undefined;
  tickets: ChangeTicket[];
  names: ChangeNames;
  /** How the content stands to what the linked commit, or for people the deployed one, says. */
  content: ContentComparison | undefined;
  samePerson: SamePerson;
  /** Who the user of the cluster is, as far as is known. */
  person: Person;
  /** Microseconds. */
  now: number;
}

/** A verdict of the case, with what its link tells. */
export function say(
  c: VerdictCase,
  environment: Environment,
  verdict: VerdictName,
  reason: VerdictReason | undefined,
  detail: string,
  more: Partial<Verdict> = {},
): Verdict {
  const link = c.decision.selected;
  return {
    verdict,
    ...(reason !== undefined && { reason }),
    detail,
    environment: environment.name,
    policyVersion: c.policy.version,
    ...(link?.initiator && { initiator: link.initiator }),
    commits: [],
    ...(c.content && { content: c.content }),
    ...more,
    evidence: [...(link?.evidence ?? []), ...(more.evidence ?? [])],
    hazards: [...(link?.hazards ?? []), ...(more.hazards ?? [])],
  };
}
