import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readFalcoRules } from '../../../core/alerts/falco.js';
import type { JsonObject } from '../../../core/audit-event.js';

const POD = {
  verb: 'create',
  stage: 'ResponseComplete',
  requestURI: '/api/v1/namespaces/shop/pods/web/exec?command=sh&command=-c&stdin=true',
  user: { username: 'alice', groups: ['dev'] },
  objectRef: { resource: 'pods', namespace: 'shop', name: 'web' },
  responseStatus: { code: 201 },
  requestObject: {
    spec: {
      containers: [
        { name: 'a', image: 'registry.example.com:5000/team/a:1', securityContext: { privileged: true } },
        { name: 'b', image: 'nginx@sha256:00' },
      ],
      volumes: [{ hostPath: { path: '/etc/kubernetes' } }],
    },
  },
};

const BASE = `
- required_engine_version: 15
- list: stages
  items: [ResponseComplete]
- list: trusted
  items: [nginx]
- list: allowed
  items: [trusted, "registry.example.com:5000/team/a"]
- macro: kevt
  condition: (jevt.value[/stage] in (stages))
- macro: kcreate
  condition: ka.verb=create
- macro: pod
  condition: ka.target.resource=pods and not ka.target.subresource exists
`;
function load(condition: string, more = '') {
  return readFalcoRules([
    parse(`${BASE}
- rule: The rule
  condition: ${JSON.stringify(condition)}
  output: Pod by %ka.user.name in %ka.target.namespace (code=%ka.response.code cmd=%ka.uri.param[command] x=%ka.impuser.name).
  priority: WARNING
  source: k8s_audit
${more}`),
  ]);
}
function matches(condition: string, event: JsonObject = POD): boolean {
  const { rules, problems } = load(condition);
  expect(problems).toEqual([]);
  return rules[0]!.matches({ event, cluster: 'prod' });
}

describe('a condition', () => {
  it.each([
    ['kevt and pod and kcreate', true],
    ['ka.req.pod.containers.privileged intersects (true)', true],
    ['ka.req.pod.containers.image.repository in (allowed)', true],
    ['ka.req.pod.containers.image.repository in (trusted)', false],
    ['not ka.req.pod.containers.image.repository in (trusted)', true],
    ['ka.req.pod.volumes.hostpath intersects (/etc, /proc)', false],
    ['ka.req.pod.volumes.hostpath pmatch (/etc, /proc)', true],
    ['ka.response.code startswith 2', true],
    ['ka.response.code>=200 and ka.response.code < 300', true],
    ['ka.impuser.name != bob', false],
    ['not ka.impuser.name = bob', true],
    ['ka.user.name!=bob', true],
    ['ka.user.name = "alice" or ka.verb = get and ka.verb = put', true],
    ['(ka.user.name = "alice" or ka.verb = get) and ka.verb = put', false],
    ['ka.uri startswith /api/v1/namespaces/shop/pods/web/exec?', true],
    ['ka.uri.param[command] contains sh', true],
    ['jevt.value[/requestObject/spec/containers/1/name] = b', true],
    ['jevt.rawtime exists', false],
    ['ka.user.name in ()', false],
    ['ka.user.name glob "al*"', true],
  ])('%s', (condition, expected) => {
    expect(matches(condition)).toBe(expected);
  });
});

describe('a rules file', () => {
  it('gives rules with their own message', () => {
    const [rule] = load('kcreate').rules;
    expect(rule).toMatchObject({ name: 'The rule', priority: 'warning' });
    expect(rule!.message({ event: POD, cluster: 'prod' })).toBe(
      'Pod by alice in shop (code=201 cmd=sh,-c x=<NA>).',
    );
  });

  it('names what is not supported, and takes the rest', () => {
    const { rules, problems } = load(
      'kcreate',
      `
- rule: Of the kernel
  condition: evt.type = open
  output: x
  priority: ERROR
- rule: Unknown field
  condition: kevt and ka.req.unheard = 1
  source: k8s_audit
- rule: Unknown operator
  condition: ka.verb bcontains 00
  source: k8s_audit
- rule: Excepted
  condition: kevt
  source: k8s_audit
  exceptions: [{name: users, fields: [ka.user.name], values: [[alice]]}]
- rule: Off
  condition: nonsense nonsense
  enabled: false
  source: k8s_audit
- macro: endless
  condition: endless
- rule: Endless
  condition: endless
  source: k8s_audit
- rule: Unclosed
  condition: (ka.verb = get
  source: k8s_audit
`,
    );
    expect(rules.map((one) => one.name)).toEqual(['The rule']);
    expect(problems).toEqual([
      { name: 'Of the kernel', problem: 'its source is syscall, not k8s_audit' },
      { name: 'Unknown field', problem: 'the field or macro ka.req.unheard' },
      { name: 'Unknown operator', problem: 'the operator bcontains' },
      { name: 'Excepted', problem: 'exceptions with values; write them into the condition' },
      { name: 'Endless', problem: 'macros that go on and on' },
      { name: 'Unclosed', problem: 'its condition: expected ) before its end' },
    ]);
  });

  it('takes what is appended and redefined by a later file', () => {
    const local = parse(`
- list: trusted
  append: true
  items: [registry.example.com:5000/team/a]
- macro: kcreate
  condition: ka.verb in (create, update)
`);
    const first = parse(`${BASE}
- rule: Foreign image
  condition: kcreate and not ka.req.pod.containers.image.repository in (trusted)
  source: k8s_audit
`);
    const on = (documents: unknown[], event: JsonObject) =>
      readFalcoRules(documents).rules[0]!.matches({ event, cluster: 'prod' });
    const again = structuredClone(first);
    expect(on([first], POD)).toBe(true);
    expect(on([again, local], POD)).toBe(false);
    const other = { ...POD, verb: 'update', requestObject: { spec: { containers: [{ image: 'x' }] } } };
    expect([on([first], other), on([structuredClone(first), local], other)]).toEqual([false, true]);
  });
});
