import { type Command, Option } from 'commander';
import { type Context, createContext, type GlobalFlags, wholeNumber, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { age, clock, duration, safe } from '../render/text.js';
import { writeTable } from './lists.js';

interface Repo {
  name: string;
  url: string;
  host: string;
  project: string | null;
  defaultBranch: string | null;
  credential: string | null;
  state: 'ok' | 'failing' | 'never' | 'disabled';
  fetch: {
    fetchedAt: string | null;
    attemptedAt: string | null;
    requestedAt: string | null;
    failures: number;
    error: string | null;
  };
  sync: { syncedAt: string | null; error: string | null };
  commits: number;
}

interface RefUpdate {
  name: string;
  kind: string;
  before: string | null;
  after: string | null;
  seenAt: string;
  since: string | null;
}

interface RepoDetail extends Repo {
  refs: Array<{ name: string; sha: string }>;
  rewritten: RefUpdate[];
  findings: Array<{ kind: string; at: string; subject: string }>;
}

interface AddFlags extends GlobalFlags {
  host?: string;
  project?: string;
  apiUrl?: string;
  credential?: string;
  sshKeyFile?: string;
  knownHostsFile?: string;
  defaultBranch?: string;
}

const POLL_MS = 1000;
/** Where nobody watches, a line is written so often. */
const LINE_MS = 30_000;
const MOST_REFS = 20;

export function repoCommands(program: Command): void {
  const repo = program.command('repo').description('the git repositories that are mirrored');
  examples(repo, [
    ['repo list', 'is every mirror up to date?'],
    ['repo add shop https://github.com/acme/shop.git', 'mirror a public repository'],
  ]);
  addCommand(repo);
  listCommand(repo);
  statusCommand(repo);
  fetchCommand(repo);
  changeCommand(repo, 'disable', 'fetch it no more; what was indexed stays', 'is disabled');
  changeCommand(repo, 'enable', 'fetch it again', 'is enabled');
  removeCommand(repo);
}

function pathOf(name: string, action = ''): string {
  return `/v1/repos/${encodeURIComponent(name)}${action}`;
}

function addCommand(repo: Command): void {
  const command = repo
    .command('add')
    .description('mirror a repository, and fetch it from now on')
    .argument('<NAME>', 'lower-case letters, digits, . - and _')
    .argument('<URL>', 'https, ssh or file, without a password')
    .addOption(
      new Option('--host <kind>', 'what serves it (default: by the URL)').choices([
        'git',
        'github',
        'gitlab',
        'gerrit',
      ]),
    )
    .option('--project <path>', 'its path on the host (default: from the URL)')
    .option('--api-url <url>', "the host's API, where it is its own")
    .option('--credential <ref>', 'env:WHOCHANGED_CREDENTIAL_X or file:/path')
    .option('--ssh-key-file <file>', 'for ssh: the private key, on the server')
    .option('--known-hosts-file <file>', 'for ssh: the hosts known, on the server')
    .option('--default-branch <branch>', 'what is deployed from (default: its HEAD)');
  examples(command, [
    [
      'repo add shop https://github.com/acme/shop.git --credential env:WHOCHANGED_CREDENTIAL_GITHUB',
      'by token',
    ],
    ['repo add infra https://git.example.com/ops/infra.git --host gitlab', 'a GitLab of your own'],
    ['repo add web git@git.example.com:web.git --ssh-key-file /k/id --known-hosts-file /k/hosts', 'by ssh'],
  ]).action(async (name: string, url: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<AddFlags>();
    const context = createContext(flags, 'one');
    const added = await context.client.post<Repo>('/v1/repos', {
      name,
      url,
      host: flags.host,
      project: flags.project,
      apiURL: flags.apiUrl,
      credential: flags.credential,
      sshKeyFile: flags.sshKeyFile,
      knownHostsFile: flags.knownHostsFile,
      defaultBranch: flags.defaultBranch,
    });
    if (writeStructured(context, added)) return;
    context.out(`${added.name} is added\n`);
    context.err(`see \`${rootName(called)} repo fetch ${added.name}\` for whether it can be fetched\n`);
  });
}

function rootName(command: Command): string {
  let root = command;
  while (root.parent) root = root.parent;
  return root.name();
}

function listCommand(repo: Command): void {
  const command = repo.command('list').description('repositories and how fresh their mirrors are');
  examples(command, [['repo list', 'state, age and errors of each']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>());
      const { now } = context.view;
      const { items } = await context.client.get<{ items: Repo[] }>('/v1/repos');
      writeTable(context, items, [
        { head: 'NAME', value: (row) => row.name },
        { head: 'HOST', value: (row) => row.host },
        { head: 'STATE', value: (row) => row.state },
        { head: 'FETCHED', value: ({ fetch }) => since(fetch.fetchedAt, now) },
        { head: 'SYNCED', value: ({ sync }) => since(sync.syncedAt, now), optional: true },
        { head: 'COMMITS', value: (row) => String(row.commits) },
        { head: 'URL', value: (row) => row.url, optional: true },
        { head: 'ERROR', value: ({ fetch, sync }) => fetch.error ?? sync.error ?? '', flexible: true },
      ]);
    },
  );
}

function since(time: string | null, now: number): string {
  return time === null ? 'never' : `${age(time, now)} ago`;
}

function statusCommand(repo: Command): void {
  const command = repo
    .command('status')
    .description('one repository: its branches and tags, and what was rewritten')
    .argument('<NAME>', 'as `repo list` shows it');
  examples(command, [['repo status shop', 'has its history been rewritten?']]).action(
    async (name: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const detail = await context.client.get<RepoDetail>(pathOf(name));
      if (!writeStructured(context, detail)) renderStatus(context, detail);
    },
  );
}

function renderStatus(context: Context, repo: RepoDetail): void {
  const { now, utc } = context.view;
  const line = (head: string, text: string) => context.out(`${`${head}:`.padEnd(12)} ${safe(text)}\n`);
  line('Name', repo.name);
  line('URL', `${repo.url} (${repo.host}${repo.project === null ? '' : `, ${repo.project}`})`);
  line('State', repo.state);
  line(
    'Fetched',
    repo.fetch.fetchedAt === null
      ? 'never'
      : `${clock(repo.fetch.fetchedAt, utc)} (${since(repo.fetch.fetchedAt, now)})`,
  );
  if (repo.fetch.error !== null)
    line(
      'Error',
      `${repo.fetch.error} (${repo.fetch.failures} ${repo.fetch.failures === 1 ? 'attempt' : 'attempts'})`,
    );
  if (repo.sync.error !== null) line('Sync error', repo.sync.error);
  line('Commits', String(repo.commits));
  if (repo.defaultBranch !== null) line('Default', repo.defaultBranch);
  if (repo.credential !== null) line('Credential', repo.credential);
  if (repo.refs.length > 0) context.out('\nBranches and tags:\n');
  for (const ref of repo.refs.slice(0, MOST_REFS))
    context.out(`  ${ref.sha.slice(0, 12)}  ${safe(ref.name.replace(/^refs\/(heads|tags)\//, ''))}\n`);
  if (repo.refs.length > MOST_REFS)
    context.out(`  and ${repo.refs.length - MOST_REFS} more; -o json has them\n`);
  if (repo.rewritten.length > 0) context.out('\nRewritten or deleted, newest first:\n');
  for (const update of repo.rewritten) {
    const moved = `${update.before?.slice(0, 12) ?? ''} → ${update.after?.slice(0, 12) ?? 'gone'}`;
    context.out(`  ${clock(update.seenAt, utc)}  ${update.kind.padEnd(8)} ${safe(update.name)}  ${moved}\n`);
  }
  if (repo.findings.length > 0) context.out('\nFindings:\n');
  for (const finding of repo.findings)
    context.out(`  ${clock(finding.at, utc)}  ${finding.kind}: ${safe(finding.subject)}\n`);
}

function fetchCommand(repo: Command): void {
  const command = repo
    .command('fetch')
    .description('fetch it now, and wait for the end')
    .argument('<NAME>', 'as `repo list` shows it')
    .option('--timeout <seconds>', 'wait at most so long', wholeNumber('--timeout', 1, 86_400), 600);
  examples(command, [['repo fetch shop', 'before asking about a commit that was just pushed']]).action(
    async (name: string, _flags: unknown, called: Command) => {
      const flags = called.optsWithGlobals<GlobalFlags & { timeout: number }>();
      const context = createContext(flags, 'one');
      const asked = await context.client.post<Repo>(pathOf(name, '/fetch'));
      const done = await waitForFetch(context, asked, flags.timeout);
      if (done.fetch.error !== null) throw new CliError(EXIT.failed, `${name}: ${done.fetch.error}`);
      const added = done.commits - asked.commits;
      if (!writeStructured(context, done))
        context.out(`${done.name} is fetched: ${added} new ${added === 1 ? 'commit' : 'commits'}\n`);
    },
  );
}

/** Until an attempt that began after it was asked for has ended, or another has failed meanwhile. */
async function waitForFetch(context: Context, asked: Repo, seconds: number): Promise<Repo> {
  const requested = asked.fetch.requestedAt!;
  const say = fetchProgress(context, asked);
  for (const until = Date.now() + seconds * 1000; Date.now() < until; ) {
    await new Promise((done) => setTimeout(done, POLL_MS));
    const now = await context.client.get<Repo>(pathOf(asked.name));
    const { fetchedAt, error, failures } = now.fetch;
    // Both are written the same way, to the microsecond, so that they compare as texts.
    const ended =
      (fetchedAt !== null && fetchedAt > requested) || (error !== null && failures !== asked.fetch.failures);
    say(now, ended);
    if (ended) return now;
  }
  throw new CliError(
    EXIT.failed,
    `${asked.name} is not fetched after ${seconds} s`,
    'it goes on by itself, where a process runs the role jobs; see `whochanged repo status`',
  );
}

/** How it goes, on stderr: commits are indexed as they are read, so a first fetch shows their number grow. */
function fetchProgress(context: Context, asked: Repo): (now: Repo, ended: boolean) => void {
  const began = Date.now();
  let lined = began;
  return (now, ended) => {
    const text = `${asked.name}: fetching for ${duration((Date.now() - began) / 1000)}, ${now.commits - asked.commits} new commits`;
    if (process.stderr.isTTY) context.err(`\r${text}${ended ? '\n' : ''}`);
    else if (!ended && Date.now() - lined > LINE_MS) {
      lined = Date.now();
      context.err(`${text}\n`);
    }
  };
}

function changeCommand(repo: Command, word: string, description: string, said: string): void {
  const command = repo.command(word).description(description).argument('<NAME>', 'as `repo list` shows it');
  examples(command, [[`repo ${word} shop`, description]]).action(
    async (name: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const changed = await context.client.post<Repo>(pathOf(name, `/${word}`));
      if (!writeStructured(context, changed)) context.out(`${changed.name} ${said}\n`);
    },
  );
}

function removeCommand(repo: Command): void {
  const command = repo
    .command('remove')
    .description('forget a repository and its index')
    .argument('<NAME>', 'as `repo list` shows it');
  examples(command, [['repo remove shop', 'its mirror on disk stays, to be deleted by hand']]).action(
    async (name: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      await context.client.delete(pathOf(name));
      if (!writeStructured(context, { name, removed: true })) context.out(`${name} is removed\n`);
    },
  );
}
