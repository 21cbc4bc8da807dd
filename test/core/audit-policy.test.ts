import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type AuditNeeds, auditPolicy, DEFAULT_NEEDS } from '../../core/audit-policy.js';

interface Rule {
  level: string;
  users?: string[];
  userGroups?: string[];
  verbs?: string[];
  resources?: Array<{ group: string; resources: string[] }>;
  nonResourceURLs?: string[];
}

interface Request {
  user?: string;
  groups?: string[];
  verb: string;
  resource: string;
}

/** The level that the apiserver would choose (k8s.io/apiserver/pkg/audit/policy/checker.go): the first rule that matches. */
function levelOf(
  { user = 'alice', groups = ['system:authenticated'], verb, resource }: Request,
  needs: Partial<AuditNeeds> = {},
) {
  const { rules } = parse(auditPolicy({ ...DEFAULT_NEEDS, ...needs })) as { rules: Rule[] };
  const matching = rules.find(
    (rule) =>
      (!rule.users || rule.users.includes(user)) &&
      (!rule.userGroups || rule.userGroups.some((group) => groups.includes(group))) &&
      (!rule.verbs || rule.verbs.includes(verb)) &&
      (!rule.resources ||
        rule.resources.some(({ group, resources }) => group === '' && resources.includes(resource))) &&
      !rule.nonResourceURLs,
  );
  return matching?.level ?? 'None';
}

it('is the recommended policy where nothing else is asked for', () => {
  const recommended = readFileSync(join(import.meta.dirname, '../../deploy/audit-policy.yaml'), 'utf8');
  expect(parse(auditPolicy(DEFAULT_NEEDS))).toEqual(parse(recommended));
});

describe('levels', () => {
  it('give every write its content', () => {
    expect(levelOf({ verb: 'patch', resource: 'pods' })).toBe('RequestResponse');
    expect(levelOf({ verb: 'update', resource: 'configmaps' })).toBe('RequestResponse');
    expect(levelOf({ verb: 'update', resource: 'configmaps' }, { configMaps: 'metadata' })).toBe('Metadata');
  });

  it('keep Secrets at Metadata until their keys are asked for, and token requests for ever', () => {
    expect(levelOf({ verb: 'update', resource: 'secrets' })).toBe('Metadata');
    expect(levelOf({ verb: 'update', resource: 'secrets' }, { secrets: 'keys' })).toBe('RequestResponse');
    expect(levelOf({ verb: 'create', resource: 'serviceaccounts/token' }, { secrets: 'keys' })).toBe(
      'Metadata',
    );
  });

  it('tell of access whatever reads are left out', () => {
    for (const reads of ['all', 'people', 'secrets'] as const) {
      expect(levelOf({ verb: 'get', resource: 'pods/exec' }, { reads })).toBe('Metadata');
      expect(levelOf({ verb: 'get', resource: 'secrets' }, { reads })).toBe('Metadata');
      expect(levelOf({ verb: 'get', resource: 'pods', groups: ['system:unauthenticated'] }, { reads })).toBe(
        'Metadata',
      );
    }
    expect(levelOf({ verb: 'get', resource: 'pods' })).toBe('Metadata');
    expect(levelOf({ verb: 'get', resource: 'pods' }, { reads: 'secrets' })).toBe('None');
  });

  it('leave nodes’ reads and status out as asked', () => {
    const node = { user: 'system:node:a', groups: ['system:nodes', 'system:authenticated'] };
    expect(levelOf({ ...node, verb: 'get', resource: 'secrets' })).toBe('None');
    expect(levelOf({ ...node, verb: 'get', resource: 'secrets' }, { reads: 'all' })).toBe('Metadata');
    expect(levelOf({ ...node, verb: 'patch', resource: 'pods/status' })).toBe('RequestResponse');
    expect(levelOf({ ...node, verb: 'patch', resource: 'pods/status' }, { podStatus: false })).toBe('None');
  });
});
