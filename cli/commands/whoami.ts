import type { Command } from 'commander';
import type { CallerKind, Grant } from '../../core/access/grants.js';
import { createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { boundsText } from '../render/grants.js';
import { clock, safe } from '../render/text.js';

/** The answer of `GET /v1/whoami`. */
interface Whoami {
  name: string;
  kind: CallerKind;
  groups: string[];
  grants: Grant[];
  expiresAt: string | null;
  lastUsedAt: string | null;
}

const KINDS: Record<CallerKind, string> = {
  token: 'a token of this server',
  oidc: 'an OIDC token',
  client_cert: 'a client certificate',
  service_account: 'the token of a service account',
  kubernetes_user: 'a token of a cluster',
  system: 'nothing: it is the server itself',
  none: 'nothing',
};

/** Who one is to the server, and what that allows. */
export function whoamiCommand(program: Command): void {
  const command = program.command('whoami').description('who you are to the server, and what you may do');
  examples(command, [
    ['whoami', 'your name, groups and grants'],
    ['whoami -o json', 'for a script'],
  ]).action(async (_flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
    const me = await context.client.get<Whoami>('/v1/whoami');
    if (writeStructured(context, me)) return;
    const { utc } = context.view;
    const lines = [`${me.name}, by ${KINDS[me.kind]}`];
    if (me.groups.length > 0) lines.push(`groups: ${me.groups.join(', ')}`);
    for (const grant of me.grants)
      lines.push(`${grant.role} ${boundsText(grant) ? `within ${boundsText(grant)}` : 'over everything'}`);
    if (me.grants.length === 0) lines.push('nothing is granted to you');
    if (me.expiresAt !== null) lines.push(`valid until ${clock(me.expiresAt, utc)}`);
    if (me.lastUsedAt !== null) lines.push(`last used ${clock(me.lastUsedAt, utc)}`);
    context.out(lines.map((line) => `${safe(line)}\n`).join(''));
  });
}
