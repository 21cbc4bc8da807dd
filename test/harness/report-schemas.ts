import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { publishedSchemas } from './published-schemas.js';

/**
 * The parts of two published schemas that our reports use, written from what they say: what is required, what is allowed
 * beside it, and the patterns of datatypes. OSCAL: NIST's 1.1.2, assessment results, JSON. OCSF: 1.5.0, class 6003. No
 * package of ours holds the schemas themselves; where WHOCHANGED_SCHEMAS names them, documents are held against them too.
 */
const closed = { additionalProperties: false };
const Uuid = Type.String({
  pattern: '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[45][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$',
});
const DAY = [
  // The last of a leap year's February, other days of February, of long months, of short ones.
  '(2000|2400|2800|2[0-9](0[48]|[2468][048]|[13579][26]))-02-29',
  '(19|2[0-9])[0-9]{2}-02-(0[1-9]|1[0-9]|2[0-8])',
  '(19|2[0-9])[0-9]{2}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])',
  '(19|2[0-9])[0-9]{2}-(0[469]|11)-(0[1-9]|[12][0-9]|30)',
].join('|');
// Ours are all in UTC; the published one takes the offsets of inhabited zones too.
const DateTime = Type.String({
  pattern: `^(${DAY})T(2[0-3]|[01][0-9]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?Z$`,
});
const Text = Type.String({ pattern: '^\\S(.*\\S)?$' });
// Letters are those of ours: the published one takes any alphabet's.
const Token = Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9.\\-_]*$' });
const Uri = Type.String({ pattern: '^[a-zA-Z][a-zA-Z0-9+\\-.]+:.+$' });
const some = <T extends Parameters<typeof Type.Array>[0]>(item: T) => Type.Array(item, { minItems: 1 });

const Property = Type.Object(
  {
    name: Token,
    value: Text,
    ns: Type.Optional(Uri),
    uuid: Type.Optional(Uuid),
    class: Type.Optional(Token),
  },
  closed,
);
const Observation = Type.Object(
  {
    uuid: Uuid,
    title: Type.Optional(Type.String()),
    description: Type.String(),
    props: Type.Optional(some(Property)),
    methods: some(Type.Enum(['EXAMINE', 'INTERVIEW', 'TEST', 'UNKNOWN'])),
    types: Type.Optional(some(Token)),
    collected: DateTime,
    remarks: Type.Optional(Type.String()),
  },
  closed,
);
const Finding = Type.Object(
  {
    uuid: Uuid,
    title: Type.String(),
    description: Type.String(),
    target: Type.Object(
      {
        type: Type.Enum(['statement-id', 'objective-id']),
        'target-id': Token,
        status: Type.Object(
          { state: Type.Enum(['satisfied', 'not-satisfied']), remarks: Type.Optional(Type.String()) },
          closed,
        ),
      },
      closed,
    ),
    'related-observations': Type.Optional(some(Type.Object({ 'observation-uuid': Uuid }, closed))),
  },
  closed,
);
const Results = Type.Object(
  {
    'assessment-results': Type.Object(
      {
        uuid: Uuid,
        metadata: Type.Object(
          {
            title: Type.String(),
            'last-modified': DateTime,
            version: Text,
            'oscal-version': Type.Literal('1.1.2'),
            props: Type.Optional(some(Property)),
          },
          closed,
        ),
        'import-ap': Type.Object(
          { href: Type.String({ pattern: '^#' }), remarks: Type.Optional(Type.String()) },
          closed,
        ),
        results: some(
          Type.Object(
            {
              uuid: Uuid,
              title: Type.String(),
              description: Type.String(),
              start: DateTime,
              end: Type.Optional(DateTime),
              'reviewed-controls': Type.Object(
                {
                  'control-selections': some(
                    Type.Object(
                      { 'include-controls': some(Type.Object({ 'control-id': Token }, closed)) },
                      closed,
                    ),
                  ),
                },
                closed,
              ),
              observations: Type.Optional(some(Observation)),
              findings: Type.Optional(some(Finding)),
            },
            closed,
          ),
        ),
        'back-matter': Type.Object(
          {
            resources: some(
              Type.Object({ uuid: Uuid, title: Type.String(), description: Type.String() }, closed),
            ),
          },
          closed,
        ),
      },
      closed,
    ),
  },
  closed,
);

const Activity = Type.Object(
  {
    activity_id: Type.Enum([0, 1, 2, 3, 4, 99]),
    activity_name: Type.String({ minLength: 1 }),
    category_uid: Type.Literal(6),
    category_name: Type.Literal('Application Activity'),
    class_uid: Type.Literal(6003),
    class_name: Type.Literal('API Activity'),
    type_uid: Type.Integer(),
    type_name: Type.String(),
    severity_id: Type.Enum([0, 1, 2, 3, 4, 5, 6, 99]),
    severity: Type.String(),
    time: Type.Integer({ minimum: 1 }),
    message: Type.Optional(Type.String()),
    status_id: Type.Optional(Type.Enum([0, 1, 2, 99])),
    status: Type.Optional(Type.String()),
    status_code: Type.Optional(Type.String()),
    metadata: Type.Object(
      {
        version: Type.Literal('1.5.0'),
        uid: Type.String(),
        product: Type.Object(
          { name: Type.String(), vendor_name: Type.String(), version: Type.String() },
          closed,
        ),
        original_time: Type.String(),
        event_code: Type.String(),
      },
      closed,
    ),
    actor: Type.Object({ user: Type.Object({ name: Type.String({ minLength: 1 }) }, closed) }, closed),
    api: Type.Object(
      {
        operation: Type.String({ minLength: 1 }),
        service: Type.Object({ name: Type.String() }, closed),
        version: Type.String(),
        request: Type.Object({ uid: Type.String() }, closed),
        response: Type.Optional(Type.Object({ code: Type.Integer() }, closed)),
      },
      closed,
    ),
    src_endpoint: Type.Object(
      {
        ip: Type.Optional(Type.String({ minLength: 2 })),
        name: Type.Optional(Type.String({ minLength: 1 })),
        intermediate_ips: Type.Optional(Type.Array(Type.String())),
      },
      closed,
    ),
    http_request: Type.Optional(
      Type.Object(
        {
          user_agent: Type.String(),
          url: Type.Object(
            { path: Type.String({ pattern: '^[^?]*$' }), query_string: Type.Optional(Type.String()) },
            closed,
          ),
        },
        closed,
      ),
    ),
    resources: some(
      Type.Object(
        {
          name: Type.String({ minLength: 1 }),
          type: Type.String({ minLength: 1 }),
          namespace: Type.Optional(Type.String()),
          group: Type.Object({ name: Type.String() }, closed),
        },
        closed,
      ),
    ),
    unmapped: Type.Object({}),
  },
  closed,
);

const results = Compile(Results);
const activity = Compile(Activity);

const told = (errors: Array<{ instancePath: string; message: string }>) =>
  errors.map(({ instancePath, message }) => `${instancePath}: ${message}`);

/** What is wrong with a document of OSCAL assessment results. */
export function problemsOfResults(document: unknown): string[] {
  const problems = told(results.Errors(document));
  const text = JSON.stringify(document);
  const named = [...text.matchAll(/"uuid":"([^"]+)"/g)].map((match) => match[1]);
  if (new Set(named).size !== named.length) problems.push('a uuid stands twice');
  for (const [, uuid] of text.matchAll(/"observation-uuid":"([^"]+)"/g))
    if (!named.includes(uuid)) problems.push(`no observation has the uuid ${uuid}`);
  const [, plan] = /"import-ap":{"href":"#([^"]*)"/.exec(text) ?? [];
  if (!named.includes(plan)) problems.push('import-ap refers to no resource');
  return [...problems, ...(publishedSchemas()?.results.problems(document) ?? [])];
}

/** What is wrong with an OCSF API Activity. */
export function problemsOfActivity(value: unknown): string[] {
  const problems = told(activity.Errors(value));
  const { class_uid, activity_id, type_uid, src_endpoint } = value as Record<string, number> & {
    src_endpoint: object;
  };
  // The taxonomy's rule for a type, and an endpoint's: at least one attribute that identifies it.
  if (type_uid !== class_uid! * 100 + activity_id!)
    problems.push('type_uid is not class_uid * 100 + activity_id');
  if (!('ip' in src_endpoint) && !('name' in src_endpoint)) problems.push('src_endpoint identifies nothing');
  return [...problems, ...(publishedSchemas()?.activity.problems(value) ?? [])];
}
