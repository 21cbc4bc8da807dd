import pc from 'picocolors';

/** Colours, or none: only for a terminal, and never where NO_COLOR is set. */
export type Colors = Pick<
  ReturnType<typeof pc.createColors>,
  'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'
>;

export function colorsFor(stream: { isTTY?: boolean }, environment: NodeJS.ProcessEnv): Colors {
  return pc.createColors(stream.isTTY === true && !environment.NO_COLOR && environment.TERM !== 'dumb');
}
