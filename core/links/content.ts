import { actorOf } from '../verdict/policy-match.js';
import type { LinkEvidence } from './evidence.js';
import { type Link, labelOf, type Subject } from './link.js';

const FIELDS_NAMED = 20;

/**
 * Rule 7: the manifests of one commit, and of no other that was looked at, render to what was written. Strong for a
 * registered pipeline; from anybody else equal content shows no more than that it is equal.
 */
export function linksByRendering(subject: Subject, evidence: LinkEvidence): Link[] {
  if (evidence.rendered.length === 0) return [];
  const registered = actorOf(evidence.policy, subject.user)?.kind === 'ci';
  const unique = new Set(evidence.rendered.map((match) => match.sha)).size === 1;
  return evidence.rendered.map((match) => ({
    rule: 'rendered',
    strength: registered && unique ? 'strong' : 'weak',
    sources: [{ repository: match.repository, path: match.path, revision: match.sha, sha: match.sha }],
    evidence: [
      {
        kind: 'rendering',
        ref: match.digest,
        detail: `${match.path} at ${match.sha} rendered with ${match.renderer} is what was written: ${match.fields.slice(0, FIELDS_NAMED).join(', ')}`,
      },
    ],
    hazards: [
      ...(unique ? [] : [`${evidence.rendered.length} commits render to the same`]),
      ...(registered ? [] : ['who wrote it is no registered pipeline']),
    ],
  }));
}

const UNSIGNED = ['git-commit', 'git-sha', 'gitcommit', 'gitsha', 'commit-sha', 'revision-sha', 'vcs-ref'];

/** Rule 9: an annotation that names a commit and that nobody signed. Anyone may write one: for display only. */
export function linksByCoincidence(subject: Subject): Link[] {
  for (const [key, value] of Object.entries(subject.annotations)) {
    const name = key.slice(key.indexOf('/') + 1).toLowerCase();
    if (!UNSIGNED.includes(name) || !/^[0-9a-f]{7,64}$/.test(value)) continue;
    return [
      {
        rule: 'coincidence',
        strength: 'weak',
        sources: [{ repository: '', revision: value }],
        evidence: [
          {
            kind: 'annotation',
            ref: key,
            detail: `the object's annotation names ${value}; nobody signed that`,
          },
        ],
        hazards: ['anyone who may write the object may write the annotation'],
      },
    ];
  }
  return [];
}

/**
 * What helm's command line leaves on what it installs: the release, and by convention the chart's name and version. None of
 * it is a commit, so it is for display only. Sources: helm pkg/action/validate.go, helm.sh/docs/chart_best_practices/labels.
 */
export function linksByHelmMarks(subject: Subject): Link[] {
  const release = subject.annotations['meta.helm.sh/release-name'];
  if (release === undefined) return [];
  const namespace = subject.annotations['meta.helm.sh/release-namespace'] ?? subject.key.namespace;
  const [, chart, version] =
    /^(.+?)-(v?\d+\.\d+\.\d+.*)$/.exec(labelOf(subject, 'helm.sh/chart') ?? '') ?? [];
  return [
    {
      rule: 'coincidence',
      strength: 'weak',
      sources: [{ repository: '', revision: version ?? '', ...(chart !== undefined && { chart }) }],
      evidence: [
        {
          kind: 'release',
          ref: `${namespace}/${release}`,
          detail: `its annotations name the release ${namespace}/${release}${chart === undefined ? '' : ` of chart ${chart} ${version}`}`,
        },
      ],
      hazards: ['a release names no commit, and anyone who may write the object may write the annotations'],
    },
  ];
}
