import { describe, expect, it } from 'vitest';
import { parseCommitObject } from '../../../core/git/commit-object.js';
import { parseRepoURL } from '../../../core/git/repo-url.js';
import { coAuthorsOf, readTrailers } from '../../../core/git/trailers.js';

const TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

describe('parseCommitObject', () => {
  it('reads a signed merge, the signature’s lines aside', () => {
    const raw = `tree ${TREE}\nparent ${'a'.repeat(40)}\nparent ${'b'.repeat(40)}\nauthor A <B> C <a@example.com> 1772442000 +0200\ncommitter Bob <bob@example.com> 1772442060 -0800\ngpgsig -----BEGIN SSH SIGNATURE-----\n parent ${'c'.repeat(40)}\n -----END SSH SIGNATURE-----\n\nOne\ntwo\n\nBody\n`;
    expect(parseCommitObject(Buffer.from(raw))).toEqual({
      tree: TREE,
      parents: ['a'.repeat(40), 'b'.repeat(40)],
      author: { name: 'A', email: 'B> C <a@example.com' },
      authoredAt: 1_772_442_000_000_000,
      committer: { name: 'Bob', email: 'bob@example.com' },
      committedAt: 1_772_442_060_000_000,
      signed: true,
      subject: 'One two',
      message: 'One\ntwo\n\nBody\n',
      trailers: [],
    });
  });

  it('takes no tag for a commit', () => {
    expect(() => parseCommitObject(Buffer.from(`object ${TREE}\ntype commit\n\nx`))).toThrow('no commit');
  });
});

describe('readTrailers', () => {
  it.each([
    ['Subject only: it is', []],
    [
      'Subject\n\nReviewed-by: Bob <bob@example.com>\nTicket: CHG-1\n and more',
      [
        ['Reviewed-by', 'Bob <bob@example.com>'],
        ['Ticket', 'CHG-1 and more'],
      ],
    ],
    ['Subject\n\nSome prose here.\nTicket: CHG-1', []],
    [
      'Subject\n\nSome prose here.\nSigned-off-by: Al <al@example.com>',
      [['Signed-off-by', 'Al <al@example.com>']],
    ],
    ['Subject\n\nTicket: CHG-1\n\nA last paragraph.', []],
  ])('of %j', (message, trailers) => {
    expect(readTrailers(message)).toEqual(trailers);
  });

  it('co-authors are people, each once', () => {
    expect(
      coAuthorsOf([
        ['Co-authored-by', 'Bob <bob@example.com>'],
        ['co-authored-by', 'Bob B. <BOB@example.com>'],
        ['Co-Authored-By', 'Carol'],
        ['Reviewed-by', 'Dora <dora@example.com>'],
      ]),
    ).toEqual([{ name: 'Bob', email: 'bob@example.com' }, { name: 'Carol' }]);
  });
});

describe('parseRepoURL', () => {
  it('reads both forms', () => {
    expect(parseRepoURL('git@git.example.com:acme/shop.git')).toEqual({
      url: 'ssh://git@git.example.com/acme/shop.git',
      protocol: 'ssh',
      host: 'git.example.com',
      project: 'acme/shop',
    });
    expect(parseRepoURL('https://git.example.com/acme/shop')).toMatchObject({
      protocol: 'https',
      project: 'acme/shop',
    });
  });

  it.each([
    ['https://user:hunter2@git.example.com/a/b', 'holds a user or password'],
    ['https://hunter2@git.example.com/a/b', 'holds a user or password'],
    ['ext::sh -c "touch /tmp/hunter2"', 'no URL'],
    ['git://git.example.com/hunter2', 'not fetched by git:'],
    ['ssh://-oProxyCommand=hunter2/x', 'URL'],
    ['--upload-pack=hunter2', 'no URL'],
    ['https://git.example.com/?hunter2', 'query'],
  ])('refuses %s and repeats none of it', (url, problem) => {
    expect(() => parseRepoURL(url)).toThrow(problem);
    expect(() => parseRepoURL(url)).not.toThrow('hunter2');
  });
});
