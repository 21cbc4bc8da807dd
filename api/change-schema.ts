import { type Static, Type } from 'typebox';
import { FLAGS } from '../core/change.js';
import { LINK_RULES, STRENGTHS } from '../core/links/link.js';
import { VERDICTS } from '../core/verdict/verdict.js';
import {
  CERTAINTIES,
  type Certainty,
  CHANGE_KINDS,
  EVENT_CLASSES,
  OUTCOMES,
  PATCH_TYPES,
} from '../core/vocabulary.js';

/** A closed list of words as a JSON schema that people can read. */
export function words<T extends string>(list: readonly T[]) {
  return Type.Unsafe<T>({ type: 'string', enum: [...list] });
}

export const ObjectSchema = Type.Object(
  {
    group: Type.String({ description: "'' for the core group" }),
    version: Type.Optional(Type.String()),
    resource: Type.String({ description: 'lower-case plural' }),
    namespace: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    subresource: Type.Optional(Type.String()),
    uid: Type.Optional(Type.String()),
    text: Type.String({ description: 'group/resource namespace/name, for people' }),
  },
  { description: 'which object' },
);

export const ActorSchema = Type.Object({
  username: Type.String({ description: 'the authenticated user' }),
  uid: Type.Optional(Type.String()),
  groups: Type.Optional(Type.Array(Type.String())),
  extra: Type.Optional(Type.Record(Type.String(), Type.Array(Type.String()))),
  serviceAccount: Type.Optional(Type.Object({ namespace: Type.String(), name: Type.String() })),
  pod: Type.Optional(Type.Object({ name: Type.String(), uid: Type.Optional(Type.String()) })),
  impersonatedUser: Type.Optional(
    Type.Object({ username: Type.String(), groups: Type.Optional(Type.Array(Type.String())) }),
  ),
});

export const FieldChangeSchema = Type.Object({
  path: Type.String(),
  op: words(['add', 'remove', 'replace', 'reorder']),
  before: Type.Optional(Type.Unknown()),
  after: Type.Optional(Type.Unknown()),
  certainty: words(CERTAINTIES),
});

const CauseSchema = Type.Object({
  id: Type.String(),
  at: Type.String(),
  actor: Type.Optional(Type.String()),
  object: Type.Optional(ObjectSchema),
  summary: Type.Optional(Type.String()),
});

export const SourceSchema = Type.Object({
  repository: Type.String({ description: 'as the controller or pipeline names it' }),
  path: Type.Optional(Type.String()),
  ref: Type.Optional(Type.String()),
  revision: Type.String({ description: 'as told: a SHA, main@sha1:..., a chart\u2019s version' }),
  sha: Type.Optional(Type.String({ description: 'the commit; not there: it has none, or none is told' })),
  chart: Type.Optional(Type.String()),
});

export const PullRequestSchema = Type.Object({
  number: Type.Integer(),
  url: Type.String(),
  title: Type.String(),
});

export const RootVerdictSchema = Type.Object(
  {
    changeID: Type.String(),
    verdict: Type.Optional(words(VERDICTS)),
    reason: Type.Optional(Type.String()),
  },
  { description: 'of a consequence: the change that gave it its content, and what is said of that one' },
);

export const ChangeSchema = Type.Object(
  {
    id: Type.String(),
    seq: Type.String({ description: 'order of commit within the cluster' }),
    at: Type.String({ description: 'requestReceivedTimestamp' }),
    completedAt: Type.Optional(Type.String()),
    cluster: Type.String(),
    source: Type.String(),
    class: words(EVENT_CLASSES),
    kind: Type.Optional(words(CHANGE_KINDS)),
    outcome: Type.Optional(words(OUTCOMES)),
    verb: Type.String(),
    patchType: Type.Optional(words(PATCH_TYPES)),
    code: Type.Optional(Type.Integer()),
    object: ObjectSchema,
    actor: ActorSchema,
    tool: Type.Object({
      name: Type.String(),
      version: Type.Optional(Type.String()),
      userAgent: Type.Optional(Type.String()),
    }),
    sourceIPs: Type.Optional(Type.Array(Type.String())),
    summary: Type.String(),
    flags: Type.Array(words(FLAGS)),
    diff: Type.Optional(Type.Array(FieldChangeSchema)),
    certainty: Type.Optional(
      Type.Object({
        before: Type.Optional(words(CERTAINTIES)),
        after: Type.Optional(words(CERTAINTIES)),
        summary: Type.Optional(
          Type.Unsafe<Certainty>({
            ...words(CERTAINTIES),
            description: 'of what the summary and the diff tell',
          }),
        ),
      }),
    ),
    resourceVersion: Type.Optional(Type.String()),
    generation: Type.Optional(Type.Integer()),
    auditID: Type.String(),
    requestURI: Type.String(),
    eventID: Type.Optional(Type.String()),
    attribution: Type.Optional(
      Type.Object({
        state: words(['resolved', 'unresolved']),
        rule: Type.String(),
        reason: Type.Optional(Type.String()),
        root: Type.Optional(ObjectSchema),
        trigger: Type.Optional(CauseSchema),
        content: Type.Optional(CauseSchema),
      }),
    ),
    link: Type.Optional(
      Type.Object(
        {
          rule: words(LINK_RULES),
          strength: words(STRENGTHS),
          sources: Type.Array(SourceSchema),
        },
        { description: 'what ties it to commits; weak: for display only' },
      ),
    ),
    approval: Type.Optional(
      Type.Object({
        approvers: Type.Array(Type.String()),
        pullRequests: Type.Array(PullRequestSchema),
      }),
    ),
    verdict: Type.Optional(
      Type.Object({
        verdict: words(VERDICTS),
        reason: Type.Optional(Type.String()),
        environment: Type.String(),
        final: Type.Boolean({ description: 'false: late evidence is still waited for' }),
        root: Type.Optional(RootVerdictSchema),
      }),
    ),
  },
  { description: 'one effective write, access, or (with all=true) attempt' },
);

export type ChangeItem = Static<typeof ChangeSchema>;

/** Of answers about one thing. */
export const ArchivedFlag = Type.Optional(
  Type.Boolean({ description: 'true: events of the archive were read for this' }),
);

export function pageSchema<T extends ReturnType<typeof Type.Object>>(item: T) {
  return Type.Object({
    items: Type.Array(item),
    next: Type.Union([Type.String(), Type.Null()], { description: 'the cursor of the next page' }),
    archived: Type.Optional(
      Type.Object(
        {
          read: Type.Boolean({ description: 'events of the archive were read for this' }),
          before: Type.Optional(
            Type.String({
              description: 'what is older lies in the archive and was not read: ask with since',
            }),
          ),
        },
        { description: 'not there: everything is from the database' },
      ),
    ),
  });
}
