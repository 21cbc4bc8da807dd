/** A change of which a policy would say something else. */
export interface ChangedVerdict {
  changeID: string;
  at: string;
  cluster: string;
  object: string;
  username: string;
  before: string;
  beforeEnvironment: string;
  after: string;
  environment: string;
  detail: string;
}

/** How many changes went from one verdict to another; equal ones are counted too. */
export interface PolicyTestSummary {
  policyVersion: string;
  tested: number;
  changed: number;
  transitions: Array<{ before: string; after: string; count: number }>;
}

/** A line of `POST /v1/policy/test`. */
export type PolicyTestLine =
  | { changed: ChangedVerdict }
  | { progress: { tested: number } }
  | { summary: PolicyTestSummary };
