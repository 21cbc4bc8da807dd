/** A block of figures in a document: what it is called there, and what makes it. */
export interface Figures {
  name: string;
  /** For a shell, in the project's folder. */
  command: string;
}

const MARK = /^<!-- figures ([\w-]+): (.+) -->$/gm;

/** The blocks that a document has, each behind a line `<!-- figures NAME: COMMAND -->`, in its order. */
export function figuresIn(document: string): Figures[] {
  return [...document.matchAll(MARK)].map(([, name, command]) => ({ name: name!, command: command! }));
}

/**
 * The document with other figures in a block, which reaches to the next line `<!-- end -->`.
 *
 * @throws Error where it has no such block, or the block no end
 */
export function withFigures(document: string, name: string, figures: string): string {
  const block = new RegExp(
    `^(<!-- figures ${name}: .+ -->)\\n(?:(?!<!-- figures )[^])*?^(<!-- end -->)$`,
    'm',
  );
  if (!block.test(document)) throw new Error(`no block of figures called ${name}, with an end`);
  return document.replace(
    block,
    (_all, begin: string, end: string) => `${begin}\n\n\`\`\`text\n${figures}\n\`\`\`\n\n${end}`,
  );
}
