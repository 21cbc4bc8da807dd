import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Matchable } from '../../../core/alerts/matchable.js';
import { Unsupported } from '../../../core/alerts/matchable.js';
import { readSelection, readSigmaRule } from '../../../core/alerts/sigma.js';
import type { JsonObject } from '../../../core/audit-event.js';

function subject(event: JsonObject, more: Partial<Matchable> = {}): Matchable {
  return { event, cluster: 'prod', ...more };
}

const EXEC = {
  verb: 'create',
  stage: 'ResponseStarted',
  user: { username: 'alice@example.com', groups: ['dev', 'system:authenticated'] },
  objectRef: { resource: 'pods', subresource: 'exec', namespace: 'shop', name: 'web-1' },
  responseStatus: { code: 101 },
  sourceIPs: ['10.1.2.3'],
  annotations: { 'authorization.k8s.io/decision': 'allow' },
};

function matches(selection: string, event: JsonObject = EXEC): boolean {
  return readSelection(parse(selection))(subject(event));
}

describe('a selection', () => {
  it.each([
    ['verb: CREATE', true],
    ['verb: get', false],
    ['verb: [get, create]', true],
    ['{verb: create, objectRef.subresource: attach}', false],
    ['[{verb: get}, {objectRef.subresource: exec}]', true],
    ['resource: pods', true],
    ['objectRef.name: web-*', true],
    ['objectRef.name: "web-?"', true],
    ['objectRef.name: "web-??"', false],
    ['objectRef.name: "*eb*1"', true],
    ["objectRef.name: 'web-\\*'", false],
    ['objectRef.name|contains: b-', true],
    ['user.username|startswith: Alice', true],
    ['user.username|cased|startswith: Alice', false],
    ['user.username|endswith: [example.org, example.com]', true],
    ['user.username|contains|all: [alice, example]', true],
    ['user.groups: dev', true],
    ['user.groups|all: [dev, admin]', false],
    ['user.username|re: ^al.ce@', true],
    ['sourceIPs|cidr: 10.0.0.0/8', true],
    ['sourceIPs|cidr: 10.2.0.0/16', false],
    ['responseStatus.code|lt: 200', true],
    ['responseStatus.code: 101', true],
    ['responseObject|exists: false', true],
    ['impersonatedUser.username: null', true],
    ['impersonatedUser.username: ""', true],
    ['annotations.authorization.k8s.io/decision: allow', true],
    ['cluster: prod', true],
  ])('%s', (selection, expected) => {
    expect(matches(selection)).toBe(expected);
  });

  it('looks at what changed, and at verdicts', () => {
    const change = {
      kind: 'update',
      class: 'change',
      tool: 'kubectl',
      summary: '',
      flags: [],
      diff: [
        {
          path: 'spec.template.spec.containers[web].image',
          op: 'replace' as const,
          before: 'a:1',
          after: 'evil/a:2',
        },
        { path: 'metadata.labels.tier', op: 'add' as const, after: 'x' },
      ],
    };
    const verdict = { verdict: 'unapproved', reason: 'no_pr', environment: 'production' };
    const test = (text: string) => readSelection(parse(text))(subject(EXEC, { change, verdict }));
    expect(test('diff.after.spec.template.spec.containers.image|startswith: evil/')).toBe(true);
    expect(test('diff.before.spec.template.spec.containers.image|startswith: evil/')).toBe(false);
    expect(test('diff.path: metadata.labels.*')).toBe(true);
    expect(test('{verdict.verdict: [unapproved, out-of-band], verdict.environment: production}')).toBe(true);
    expect(test('change.kind: delete')).toBe(false);
  });
});

const RULE = `
title: Exec by a person
id: 11111111-2222-3333-4444-555555555555
logsource: {product: kubernetes, service: audit}
detection:
  selection_verb: {verb: create}
  selection_what: {objectRef.subresource: [exec, attach]}
  filter_robots: {user.username|startswith: 'system:'}
  condition: CONDITION
level: high
`;
function rule(condition: string) {
  return readSigmaRule(parse(RULE.replace('CONDITION', condition)));
}

describe('a rule', () => {
  it.each([
    ['all of selection_* and not 1 of filter_*', true],
    ['selection_verb and selection_what and not filter_robots', true],
    ['not (selection_verb and selection_what)', false],
    ['filter_robots or selection_what', true],
    ['filter_robots and selection_verb or selection_what', true],
    ['filter_robots and (selection_verb or selection_what)', false],
    ['1 of them', true],
    ['all of them', false],
  ])('holds by its condition: %s', (condition, expected) => {
    expect(rule(condition).matches(subject(EXEC))).toBe(expected);
  });

  it('is named with what it has that is not supported', () => {
    const wrong: Array<[string, RegExp]> = [
      [RULE.replace('CONDITION', 'selection_verb | count() > 5'), /an aggregation/],
      [RULE.replace('CONDITION', 'selection_nothing'), /there is no selection selection_nothing/],
      [RULE.replace('CONDITION', '(selection_verb'), /a parenthesis is not closed/],
      [RULE.replace('service: audit', 'service: syslog'), /log source/],
      [RULE.replace('CONDITION', 'selection_verb').replace('|startswith', '|base64'), /the modifier base64/],
      [
        RULE.replace('CONDITION', 'selection_verb').replace('user.username|', 'proc.name|'),
        /the field proc.name/,
      ],
      [RULE.replace('CONDITION', 'selection_verb').replace('{verb: create}', '[a keyword]'), /keywords/],
      [
        RULE.replace('CONDITION', 'selection_verb').replace('{verb: create}', '{verb|re: "(a+)+"}'),
        /regular expression/,
      ],
    ];
    for (const [text, problem] of wrong) {
      expect(() => readSigmaRule(parse(text))).toThrow(Unsupported);
      expect(() => readSigmaRule(parse(text))).toThrow(problem);
    }
  });
});
