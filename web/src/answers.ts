import type { ChangeItem } from '../../api/change-schema.ts';
import type { DriftItem } from '../../api/drift-schema.ts';
import type { AlertItem } from '../../api/routes/alerts.ts';
import type { LinkItem, VerdictItem } from '../../api/verdict-schema.ts';
import type { Control } from '../../core/report/controls.ts';
import type { ReportGap } from '../../core/report/gap.ts';
import type { Report as MadeReport } from '../../core/report/report.ts';

export type Change = ChangeItem;
export type FieldChange = NonNullable<ChangeItem['diff']>[number];
export type ObjectItem = ChangeItem['object'];
export type Certainty = FieldChange['certainty'];

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** GET /v1/changes */
export interface ChangesPage extends Page<Change> {
  /** A tenant isn't told. */
  completeness?: { verdict: 'complete' | 'incomplete' | 'unknown'; gaps: number; completeUntil?: string };
}

/** GET /v1/changes/:id */
export interface ChangeDetail extends Change {
  requested?: string[];
  decision?: { decision?: string; reason?: string };
  annotations?: Record<string, string>;
  latencyMs?: number;
  sources: Array<{
    source: string;
    kind: string;
    stages: Array<{ stage: string; seq: string; digest: string; object?: { bucket: string; key: string } }>;
    agreement: 'only' | 'equal' | 'conflicting';
  }>;
  consequences: Change[];
  links: LinkItem[];
  /** The newest first. */
  verdicts: VerdictItem[];
}

export type Evidence = VerdictItem['evidence'][number];

/** GET /v1/gaps */
export type Gap = ReportGap;

/** GET /v1/changes/density */
export interface Density {
  since: string;
  until: string;
  bucketSeconds: number;
  items: Array<{ at: string; count: number }>;
}

/** GET /v1/objects/.../state */
export interface State {
  exists: 'yes' | 'no' | 'unknown';
  object: Record<string, unknown> | null;
  certainty: Certainty;
  at?: string;
  change?: string;
  notes: string[];
  fields?: Array<{ path: string; value: unknown; certainty: Certainty; doubt?: string }>;
}

/** GET /v1/changes/:id/proof */
export interface Proof {
  index: number;
  leaf: string;
  hashes: string[];
  checkpoint: string;
  file: string;
}

/** GET /v1/sources */
export interface Source {
  name: string;
  cluster: string;
  kind: string;
  health: {
    state: 'ok' | 'silent' | 'never' | 'disabled';
    lastReceivedAt: string | null;
    lastEventAt: string | null;
    lagSeconds: number | null;
    events: number;
    duplicates: number;
    quarantined: number;
  };
}

/** GET /v1/verdicts */
export interface ListedVerdict extends VerdictItem {
  change: {
    id: string;
    at: string;
    cluster: string;
    object: ObjectItem;
    actor: string;
    summary: string;
  };
}

/** GET /v1/verdicts/weeks */
export interface VerdictWeeks {
  since: string;
  until: string;
  items: Array<{ week: string; environment: string; verdict: string; count: number }>;
}

/** GET /v1/alerts */
export type Alert = AlertItem;

/** GET /v1/alert-rules */
export interface AlertRules {
  configured: boolean;
  rules: Array<{ name: string; title: string; severity: string; on: string; format: string; to: string[] }>;
  unsupported: Array<{ name: string; problem: string }>;
}

/** GET /v1/alert-deliveries */
export interface AlertDelivery {
  alert: string;
  rule: string;
  receiver: string;
  notice: 'raised' | 'ended';
  attempts: number;
  tries: Array<{ error: string | null }>;
}

/** GET /v1/drift */
export type Drift = DriftItem;
export type DriftFinding = DriftItem['findings'][number];

/** GET /v1/reports */
export interface Controls {
  items: Control[];
}

/** GET /v1/reports/:control */
export interface Report extends MadeReport {
  completenessStatement: string;
  generatedAt: string;
}

/** GET /v1/policy */
export interface Policy {
  document: { environments: Array<{ name: string }>; fallback: { name: string } };
}
