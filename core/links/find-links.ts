import type { Evidence } from '../approval/approval.js';
import { actorOf } from '../verdict/policy-match.js';
import { linksByArgocd } from './argocd.js';
import { linksByCoincidence, linksByHelmMarks, linksByRendering } from './content.js';
import { type LinkEvidence, trustedSyncs } from './evidence.js';
import { linksByFlux, linksByHelmRelease } from './flux.js';
import { LINK_RULES, type Link, type LinkDecision, type Subject } from './link.js';
import { linksByCiSession, linksByOidc } from './pipeline.js';
import { linksBySignature } from './signed-annotation.js';
import { revisionKey } from './sync.js';

/**
 * Every link that the evidence gives, and the one that counts: the first rule with a complete match. Where that rule
 * gives several that name different commits, none counts.
 */
export function findLinks(subject: Subject, evidence: LinkEvidence): LinkDecision {
  const candidates = [
    ...linksByRoot(evidence),
    ...linksByArgocd(subject, evidence),
    ...linksByOidc(subject, evidence),
    ...linksByFlux(subject, evidence),
    ...linksByHelmRelease(subject, evidence),
    ...linksByCiSession(subject, evidence),
    ...linksByRendering(subject, evidence),
    ...linksBySignature(subject, evidence),
    ...linksByCoincidence(subject),
    ...linksByHelmMarks(subject),
  ];
  const decision = selectLink(candidates);
  const forgers = decision.state === 'none' ? forgersOf(subject, evidence) : [];
  return forgers.length === 0
    ? decision
    : {
        ...decision,
        reason: `the record of its application was written by ${forgers.join(', ')}, not by the controller alone`,
      };
}

/** Those besides the controller who wrote the records that would have tied a controller's write to a commit. */
function forgersOf(subject: Subject, evidence: LinkEvidence): string[] {
  const { policy } = evidence;
  const kind = actorOf(policy, subject.user)?.kind;
  if (kind !== 'argocd' && kind !== 'flux') return [];
  const syncs =
    kind === 'argocd' ? evidence.argocd.flatMap((application) => application.syncs) : evidence.flux;
  const recorders = new Set(trustedSyncs(policy, syncs).forged.flatMap((sync) => sync.recorders));
  return [...recorders].filter((username) => actorOf(policy, { username })?.kind !== kind);
}

export function selectLink(candidates: Link[]): LinkDecision {
  const complete = candidates.filter((link) => link.strength !== 'weak');
  const rule = LINK_RULES.find((name) => complete.some((link) => link.rule === name));
  if (rule === undefined) {
    const [weak] = candidates;
    return weak
      ? { state: 'weak', selected: weak, candidates, reason: weak.hazards[0] ?? 'its evidence is weak' }
      : { state: 'none', candidates };
  }
  const own = complete.filter((link) => link.rule === rule);
  const [first] = own as [Link, ...Link[]];
  const doubt = own.find((link) => link.doubt !== undefined)?.doubt;
  if (doubt !== undefined) return { state: 'ambiguous', selected: first, candidates, reason: doubt };
  const meanings = new Set(
    own.map((link) => `${link.rootChangeID ?? ''} ${revisionKey(link.sources)} ${link.nonGit?.length ?? 0}`),
  );
  if (meanings.size > 1)
    return {
      state: 'ambiguous',
      candidates,
      reason: `${own.length} links by the rule ${rule} name different commits: ${own.map((link) => revisionKey(link.sources)).join('; ')}`,
    };
  return {
    state: 'linked',
    selected: { ...first, hazards: [...first.hazards, ...contradictions(first, complete)] },
    candidates,
  };
}

/** Rule 1: what follows from another change has that one's content. */
function linksByRoot({ attribution }: LinkEvidence): Link[] {
  if (attribution?.state !== 'resolved') return [];
  const root = attribution.content ?? attribution.trigger;
  if (!root) return [];
  const evidence: Evidence[] = [
    {
      kind: 'attribution',
      ref: root.changeID,
      detail: `${attribution.rule}: ${attribution.evidence.path.join(' < ')}`,
    },
  ];
  if (attribution.trigger && attribution.trigger.changeID !== root.changeID)
    evidence.push({
      kind: 'trigger',
      ref: attribution.trigger.changeID,
      detail: 'set it off, without giving it its content',
    });
  return [
    { rule: 'derived', strength: 'exact', sources: [], rootChangeID: root.changeID, evidence, hazards: [] },
  ];
}

/** Later rules that name another commit than the one that counts. */
function contradictions(selected: Link, complete: readonly Link[]): string[] {
  const shas = new Set(selected.sources.flatMap((source) => source.sha ?? []));
  return complete
    .filter(
      (link) =>
        link.rule !== selected.rule &&
        link.sources.some((source) => source.sha !== undefined && !shas.has(source.sha)),
    )
    .map((link) => `by the rule ${link.rule} it would be ${revisionKey(link.sources)}`);
}
