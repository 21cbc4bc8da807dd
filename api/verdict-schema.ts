import { type Static, Type } from 'typebox';
import { LINK_RULES, type Link, STRENGTHS } from '../core/links/link.js';
import { VERDICTS } from '../core/verdict/verdict.js';
import type { VerdictRow } from '../store/queries/verdicts.js';
import { rootItem } from './change-item.js';
import { PullRequestSchema, RootVerdictSchema, SourceSchema, words } from './change-schema.js';

export const EvidenceSchema = Type.Object({
  kind: Type.String({ description: 'commit, pull_request, review, sync, change, ticket, ...' }),
  ref: Type.String({ description: 'a SHA, a URL, the id of a change' }),
  detail: Type.String(),
});

const InitiatorSchema = Type.Object(
  { username: Type.Optional(Type.String()), automated: Type.Boolean() },
  { description: 'who set the controller or pipeline off, as it says' },
);

export const LinkSchema = Type.Object({
  rule: words(LINK_RULES),
  strength: words(STRENGTHS),
  selected: Type.Boolean({ description: 'the one that the verdict rests on' }),
  sources: Type.Array(SourceSchema),
  syncID: Type.Optional(Type.String()),
  initiator: Type.Optional(InitiatorSchema),
  nonGit: Type.Optional(
    Type.Array(Type.Object({ kind: Type.String(), detail: Type.String() }), {
      description: 'input of the controller that is in no commit',
    }),
  ),
  doubt: Type.Optional(Type.String({ description: 'why it doesn\u2019t count' })),
  evidence: Type.Array(EvidenceSchema),
  hazards: Type.Array(Type.String(), { description: 'what could make it wrong' }),
});

const CommitSchema = Type.Object({
  repo: Type.String(),
  sha: Type.String(),
  state: words(['approved', 'self_approved', 'after_the_fact', 'unapproved', 'unknown']),
  reason: Type.Optional(Type.String()),
  detail: Type.String(),
  robot: Type.Optional(Type.String()),
  pullRequest: Type.Optional(PullRequestSchema),
  approvers: Type.Array(Type.String()),
  evidence: Type.Array(EvidenceSchema),
});

const ContentSchema = Type.Object(
  {
    state: words(['equal', 'different', 'unknown']),
    renderer: Type.Optional(Type.String()),
    different: Type.Array(Type.String(), { description: 'fields that were written otherwise' }),
    changedByAdmission: Type.Array(Type.String()),
    addedByAdmission: Type.Array(Type.String()),
    addedByWriter: Type.Array(Type.String()),
    defaulted: Type.Optional(Type.Array(Type.String(), { description: 'set by the apiserver' })),
    unexplained: Type.Optional(
      Type.Array(Type.String(), { description: 'beyond the manifest; nothing tells who set them' }),
    ),
    webhooks: Type.Optional(Type.Array(Type.String(), { description: 'that changed the request' })),
    detail: Type.Optional(Type.String()),
  },
  { description: 'how what was written stands to what the commit says' },
);

export const VerdictSchema = Type.Object(
  {
    id: Type.String({ description: 'its number: that of its leaf in the proof log' }),
    evaluatedAt: Type.String(),
    verdict: words(VERDICTS),
    reason: Type.Optional(Type.String()),
    detail: Type.String(),
    environment: Type.String(),
    policyVersion: Type.String(),
    final: Type.Boolean({ description: 'false: late evidence was still waited for' }),
    root: Type.Optional(RootVerdictSchema),
    triggerChangeID: Type.Optional(Type.String()),
    initiator: Type.Optional(InitiatorSchema),
    commits: Type.Array(CommitSchema, { description: 'all since the last deployment that touch the path' }),
    content: Type.Optional(ContentSchema),
    evidence: Type.Array(EvidenceSchema),
    hazards: Type.Array(Type.String()),
    digest: Type.String({ description: 'SHA-256 of the canonical verdict' }),
  },
  { description: 'what was said of a change, at a time, by a policy' },
);

export type VerdictItem = Static<typeof VerdictSchema>;

export function verdictItem(row: VerdictRow): VerdictItem {
  const { commits, evidence, hazards, content, initiator, triggerChangeID } = row.document;
  return {
    id: row.id,
    evaluatedAt: row.evaluated_at,
    verdict: row.verdict,
    ...(row.reason !== null && { reason: row.reason }),
    detail: row.detail,
    environment: row.environment,
    policyVersion: row.policy,
    final: row.final,
    ...rootItem(row.root_change_id, row.root_verdict, row.root_reason),
    ...(triggerChangeID !== undefined && { triggerChangeID }),
    ...(initiator && { initiator }),
    commits,
    ...(content && { content }),
    evidence,
    hazards,
    digest: row.digest.toString('hex'),
  };
}

export type LinkItem = Static<typeof LinkSchema>;

export function linkItem(link: Link & { selected: boolean }): LinkItem {
  const { rootChangeID: _, ...item } = link;
  return item;
}
