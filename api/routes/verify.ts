import { type Static, Type } from 'typebox';
import { UNAPPROVED_REASONS } from '../../core/approval/approval.js';
import { WhochangedError } from '../../core/errors.js';
import { passes } from '../../core/gate/decision.js';
import { VERDICTS, type Verdict } from '../../core/verdict/verdict.js';
import {
  environmentFor,
  findImageQuestions,
  findRepositoriesOf,
  findVerdictOfChange,
  type Place,
  verifyCommits,
} from '../../store/gate/verify.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';

const MaybeText = Type.Union([Type.String(), Type.Null()]);
const Evidence = Type.Object({ kind: Type.String(), ref: Type.String(), detail: Type.String() });
const Answer = Type.Object({
  subject: Type.Object({
    kind: words(['commit', 'image', 'change']),
    ref: Type.String(),
  }),
  passes: Type.Boolean({ description: 'whether a pipeline may go on' }),
  verdict: words(VERDICTS),
  reason: MaybeText,
  detail: Type.String(),
  environment: Type.String(),
  policyVersion: Type.String(),
  commits: Type.Array(
    Type.Object({
      repo: Type.String(),
      sha: Type.String(),
      state: words(['approved', 'self_approved', 'after_the_fact', 'unapproved', 'unknown']),
      reason: Type.Optional(words(UNAPPROVED_REASONS)),
      detail: Type.String(),
      robot: Type.Optional(Type.String()),
      pullRequest: Type.Optional(
        Type.Object({ number: Type.Integer(), url: Type.String(), title: Type.String() }),
      ),
      approvers: Type.Array(Type.String()),
      evidence: Type.Array(Evidence),
    }),
  ),
  evidence: Type.Array(Evidence),
  hazards: Type.Array(Type.String()),
});
type AnswerItem = Static<typeof Answer>;

const SHA = '^[0-9a-fA-F]{7,64}$';
const Query = Type.Object({
  commit: Type.Optional(Type.String({ pattern: SHA, description: 'its id, or at least 7 digits' })),
  image: Type.Optional(
    Type.String({ pattern: '^(\\S+@)?sha256:[0-9a-f]{64}$', description: 'a digest, or NAME@DIGEST' }),
  ),
  change: Type.Optional(Type.String({ format: 'uuid', description: "a change's id" })),
  repo: Type.Optional(Type.String({ description: 'of the commit: our name for it' })),
  environment: Type.Optional(Type.String({ description: 'of the policy, by name' })),
  cluster: Type.Optional(Type.String({ description: 'instead: where it will be deployed' })),
  namespace: Type.Optional(Type.String()),
  label: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String(), { maxItems: 50 })])),
  application: Type.Optional(Type.String({ description: 'for change tickets that name one' })),
  previous: Type.Optional(
    Type.String({
      pattern: '^[0-9a-f]{40,64}$',
      description: 'what is deployed now: every commit since counts',
    }),
  ),
  path: Type.Optional(Type.String({ description: "of the repository's files: only commits that touch it" })),
  branch: Type.Optional(Type.String({ description: 'approvals for another branch do not count' })),
});
type QueryItem = Static<typeof Query>;
type Subject = AnswerItem['subject'];

function answerOf(subject: Subject, verdict: Verdict): AnswerItem {
  return {
    subject,
    passes: passes(verdict),
    verdict: verdict.verdict,
    reason: verdict.reason ?? null,
    detail: verdict.detail,
    environment: verdict.environment,
    policyVersion: verdict.policyVersion,
    commits: verdict.commits,
    evidence: verdict.evidence,
    hazards: verdict.hazards,
  };
}

export function verifyRoutes({ server, deps, auth }: Api): void {
  const unknown = async (
    subject: Subject,
    place: Place,
    reason: NonNullable<Verdict['reason']>,
    detail: string,
  ) => {
    const policy = await deps.gate.policy();
    return answerOf(subject, {
      verdict: 'unknown',
      reason,
      detail,
      environment: environmentFor(policy.policy, place).name,
      policyVersion: policy.version,
      commits: [],
      evidence: [],
      hazards: [],
    });
  };

  const ofCommit = async (query: QueryItem, place: Place): Promise<AnswerItem> => {
    const asked = query.commit!.toLowerCase();
    const found = await findRepositoriesOf(deps.pool, asked, query.repo);
    const shas = new Set(found.map(({ sha }) => sha));
    const subject: Subject = { kind: 'commit', ref: shas.size === 1 ? [...shas][0]! : asked };
    if (found.length === 0)
      return unknown(subject, place, 'commits_unavailable', `no mirrored repository has a commit ${asked}`);
    if (shas.size > 1)
      throw new WhochangedError('invalid_request', `${shas.size} commits begin with ${asked}`, {
        hint: 'give the whole id',
      });
    if (found.length > 1)
      throw new WhochangedError('invalid_request', `${found.length} repositories have ${asked}`, {
        hint: `name one by repo: ${found.map(({ repo }) => repo).join(', ')}`,
      });
    const [{ repo, sha }] = found as [{ repo: string; sha: string }];
    const { previous, path, branch } = query;
    const verdict = await verifyCommits(
      deps.gate,
      [{ repository: repo, sha, previous, path, branch }],
      place,
      { rule: 'oidc', evidence: [], hazards: [] },
      Date.now() * 1000,
    );
    return answerOf(subject, verdict);
  };

  const ofImage = async (query: QueryItem, place: Place): Promise<AnswerItem> => {
    const digest = query.image!.slice(query.image!.indexOf('sha256:'));
    const subject: Subject = { kind: 'image', ref: digest };
    const found = await findImageQuestions(deps.pool, digest);
    if (found.length === 0)
      return unknown(subject, place, 'no_link', 'no attestation ties this digest to a commit');
    const { previous, path, branch } = query;
    const verdict = await verifyCommits(
      deps.gate,
      found.map(({ question }) => ({ ...question, previous, path, branch })),
      place,
      {
        rule: 'signed_annotation',
        evidence: found.map(({ detail }) => ({ kind: 'attestation', ref: digest, detail })),
        hazards: [],
      },
      Date.now() * 1000,
    );
    return answerOf(subject, verdict);
  };

  /** The verdict that stands; for another environment, the commits behind the change are judged anew. */
  const ofChange = async (query: QueryItem, place: Place): Promise<AnswerItem> => {
    const subject: Subject = { kind: 'change', ref: query.change! };
    const found = await findVerdictOfChange(deps.pool, query.change!);
    if (!found) throw new WhochangedError('not_found', `no change has the id ${query.change}`);
    const asked =
      place.environment ??
      (place.cluster === undefined && place.namespace === undefined
        ? undefined
        : environmentFor((await deps.gate.policy()).policy, place).name);
    if (asked !== undefined && asked !== found.environment) {
      const sources = (found.sources ?? []).flatMap(({ repository, sha, path, ref }) =>
        sha === undefined ? [] : [{ repository, sha, previous: query.previous, path, branch: ref }],
      );
      if (sources.length === 0)
        return unknown(subject, place, 'no_link', 'no link ties this change to a commit');
      const verdict = await verifyCommits(
        deps.gate,
        sources,
        place,
        {
          rule: 'derived',
          evidence: [
            { kind: 'change', ref: query.change!, detail: 'the change was made from these commits' },
          ],
          hazards: [],
        },
        Date.now() * 1000,
      );
      return answerOf(subject, verdict);
    }
    if (found.verdict === null)
      return unknown(subject, place, 'cause_unresolved', 'this change has no verdict yet');
    return answerOf(subject, {
      verdict: found.verdict,
      ...(found.reason !== null && { reason: found.reason as NonNullable<Verdict['reason']> }),
      detail: found.detail ?? '',
      environment: found.environment ?? '',
      policyVersion: found.policyVersion ?? '',
      commits: found.document?.commits ?? [],
      evidence: found.document?.evidence ?? [],
      hazards: [
        ...(found.document?.hazards ?? []),
        ...(found.final ? [] : ['late evidence is still awaited: this verdict is not final']),
      ],
    });
  };

  server.get(
    '/v1/verify',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: ['gate'],
        summary: 'Is this commit, image digest or change approved for this environment?',
        querystring: Query,
        response: { 200: Answer },
      },
    },
    async ({ query }) => {
      const asked = (['commit', 'image', 'change'] as const).filter((key) => query[key] !== undefined);
      if (asked.length !== 1)
        throw new WhochangedError('invalid_request', 'ask about one of commit, image and change');
      const place: Place = {
        environment: query.environment,
        cluster: query.cluster,
        namespace: query.namespace,
        labels: [query.label ?? []].flat(),
        application: query.application,
      };
      if (query.change === undefined && place.environment === undefined && place.cluster === undefined)
        throw new WhochangedError('invalid_request', 'say for where', {
          hint: 'give environment, or cluster and namespace',
        });
      // A name that no environment has must not pass for one, whatever comes of the rest.
      environmentFor((await deps.gate.policy()).policy, place);
      if (query.commit !== undefined) return ofCommit(query, place);
      return query.image !== undefined ? ofImage(query, place) : ofChange(query, place);
    },
  );
}
