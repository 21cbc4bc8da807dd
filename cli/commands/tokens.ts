import { type Command, Option } from 'commander';
import {
  collect,
  createContext,
  type GlobalFlags,
  timeOption,
  wholeNumber,
  writeStructured,
} from '../context.js';
import { examples } from '../examples.js';
import { boundsText } from '../render/grants.js';
import { clock } from '../render/text.js';
import { writeTable } from './lists.js';

interface TokenItem {
  id: number;
  name: string;
  role: string;
  clusters: string[] | null;
  namespaces: string[] | null;
  createdAt: string;
  expiresAt: string | null;
  revokedAt: string | null;
  lastUsedAt: string | null;
}

export function tokenCommands(program: Command): void {
  const token = program.command('token').description('tokens for the API');
  examples(token, [
    ['token create ci --role reader', 'for somebody who asks questions'],
    ['token list', 'who has one'],
  ]);

  const create = token
    .command('create')
    .description('a new token, shown once')
    .argument('<NAME>', 'whose it is, or what for')
    .addOption(new Option('--role <role>').choices(['reader', 'operator', 'admin']).default('reader'))
    .option('--cluster <cluster>', 'bound to this cluster; may be repeated', collect)
    .option('-n, --namespace <namespace>', 'bound to this namespace; may be repeated', collect)
    .option('--expires-at <time>', 'RFC 3339', timeOption('--expires-at'));
  examples(create, [
    ['token create alice', 'a reader'],
    ['token create ci --role operator --expires-at 2027-01-01T00:00:00Z > ci-token', 'for a while'],
    ['token create team-shop --cluster prod -n shop -n shop-db', 'a tenant: sees these namespaces only'],
  ]).action(async (name: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<
      GlobalFlags & { role: string; cluster?: string[]; namespace?: string[]; expiresAt?: string }
    >();
    const context = createContext(flags, 'one');
    const made = await context.client.post<{ token: string }>('/v1/tokens', {
      name,
      role: flags.role,
      ...(flags.cluster && { clusters: flags.cluster }),
      ...(flags.namespace && { namespaces: flags.namespace }),
      ...(flags.expiresAt && { expiresAt: flags.expiresAt }),
    });
    if (!writeStructured(context, made)) context.out(`${made.token}\n`);
  });

  const list = token.command('list').description('every token but its secret');
  examples(list, [['token list', 'with roles, and until when they are valid']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>());
      const { now, utc } = context.view;
      const { items } = await context.client.get<{ items: TokenItem[] }>('/v1/tokens');
      const valid = (row: TokenItem) => {
        if (row.revokedAt) return 'revoked';
        if (!row.expiresAt) return 'yes';
        return Date.parse(row.expiresAt) > now ? `until ${clock(row.expiresAt, utc)}` : 'expired';
      };
      writeTable(context, items, [
        { head: 'ID', value: (row) => String(row.id) },
        { head: 'NAME', value: (row) => row.name, most: 30 },
        { head: 'ROLE', value: (row) => row.role },
        { head: 'WITHIN', value: boundsText },
        { head: 'CREATED', value: (row) => clock(row.createdAt, utc) },
        { head: 'USED', value: (row) => (row.lastUsedAt ? clock(row.lastUsedAt, utc) : 'never') },
        { head: 'VALID', value: valid, flexible: true },
      ]);
    },
  );

  const revoke = token
    .command('revoke')
    .description('end a token')
    .argument('<ID>', 'as `token list` shows it', wholeNumber('ID', 1, 2_147_483_647));
  examples(revoke, [['token revoke 7', 'it is refused within seconds']]).action(
    async (id: number, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      await context.client.delete(`/v1/tokens/${id}`);
      if (!writeStructured(context, { id, revoked: true })) context.out(`token ${id} is revoked\n`);
    },
  );
}
