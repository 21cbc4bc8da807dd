import type { Command } from 'commander';
import {
  type Context,
  collect,
  createContext,
  type GlobalFlags,
  wholeNumber,
  writeStructured,
} from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { safe } from '../render/text.js';

interface Answer {
  subject: { kind: string; ref: string };
  passes: boolean;
  verdict: string;
  reason: string | null;
  detail: string;
  environment: string;
  policyVersion: string;
  commits: Array<{ repo: string; sha: string; state: string; reason?: string; detail: string }>;
  evidence: Array<{ kind: string; ref: string; detail: string }>;
  hazards: string[];
}

interface Flags extends GlobalFlags {
  environment?: string;
  cluster?: string;
  namespace?: string;
  label?: string[];
  app?: string;
  repo?: string;
  previous?: string;
  path?: string;
  branch?: string;
  wait?: number;
}

const POLL_MS = 5000;
const MOST_COMMITS = 20;

export function verifyCommand(program: Command): void {
  const command = program
    .command('verify')
    .description('is it approved for this environment? Exit code 0: yes; 1: no; 6: unknown')
    .argument('<KIND>', 'commit, image or change')
    .argument('<REF>', "a commit's id, an image's digest (or NAME@DIGEST), or a change's id")
    .option('--environment <name>', 'the environment, as the policy calls it')
    .option('--cluster <cluster>', 'instead: the cluster that it will be deployed to')
    .option('-n, --namespace <namespace>', 'and its namespace')
    .option('-l, --label <key=value>', 'and a label of it; may be repeated', collect)
    .option('--app <name>', 'the application, for change tickets')
    .option('--repo <name>', 'of the commit, where several have it')
    .option('--previous <sha>', 'what is deployed now: every commit since must be approved')
    .option('--path <path>', 'only commits that touch this path')
    .option('--branch <branch>', 'approvals for other branches do not count')
    .option(
      '--wait <seconds>',
      'ask again while it is unknown: mirrors and hosts may lag behind',
      wholeNumber('--wait', 1, 86_400),
    );
  examples(command, [
    [
      'verify commit $GIT_SHA --environment production --previous $DEPLOYED_SHA',
      'in a pipeline, before it deploys',
    ],
    ['verify image registry.example.com/web@sha256:... --cluster prod -n shop', 'by its attestations'],
    ['verify commit $GIT_SHA --environment production --wait 600', 'give mirrors ten minutes'],
  ]).action(async (kind: string, ref: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<Flags>();
    if (kind !== 'commit' && kind !== 'image' && kind !== 'change')
      throw new CliError(EXIT.usage, `verify ${kind}: expected commit, image or change`);
    const context = createContext(flags, 'one');
    const answer = await ask(context, kind, ref, flags);
    if (!writeStructured(context, answer)) render(context, answer);
    if (answer.passes) return;
    process.exitCode = answer.verdict === 'unknown' ? EXIT.unknown : EXIT.nothing;
  });
}

async function ask(context: Context, kind: string, ref: string, flags: Flags): Promise<Answer> {
  const until = Date.now() + (flags.wait ?? 0) * 1000;
  for (;;) {
    const answer = await context.client.get<Answer>('/v1/verify', {
      [kind]: ref,
      environment: flags.environment,
      cluster: flags.cluster,
      namespace: flags.namespace,
      label: flags.label,
      application: flags.app,
      repo: flags.repo,
      previous: flags.previous,
      path: flags.path,
      branch: flags.branch,
    });
    if (answer.verdict !== 'unknown' || Date.now() >= until) return answer;
    context.err(`unknown as yet: ${safe(answer.detail)}\n`);
    await new Promise((done) => setTimeout(done, Math.min(POLL_MS, until - Date.now())));
  }
}

function render(context: Context, answer: Answer): void {
  const line = (head: string, text: string) => context.out(`${`${head}:`.padEnd(12)} ${safe(text)}\n`);
  line('Verdict', answer.reason === null ? answer.verdict : `${answer.verdict}(${answer.reason})`);
  line('Because', answer.detail);
  line('For', `${answer.environment}, by the policy ${answer.policyVersion}`);
  line('About', `${answer.subject.kind} ${answer.subject.ref}`);
  for (const hazard of answer.hazards) line('But', hazard);
  for (const { kind, ref, detail } of answer.evidence) line('Evidence', `${kind} ${ref}: ${detail}`);
  for (const { sha, repo, state, reason, detail } of answer.commits.slice(0, MOST_COMMITS))
    context.out(
      `  ${sha.slice(0, 12)} ${safe(repo)}  ${state}${reason === undefined ? '' : `(${reason})`}: ${safe(detail)}\n`,
    );
  const more = answer.commits.length - MOST_COMMITS;
  if (more > 0) context.out(`  and ${more} more; -o json has them\n`);
}
