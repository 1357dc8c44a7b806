import type { CommandIo } from './io.ts';

/** Emphasis for a terminal; plain text everywhere else. */
export interface Style {
  readonly heading: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly aside: (text: string) => string;
}

const plain = (text: string): string => text;

function sgr(code: number): (text: string) => string {
  return (text) => `\x1b[${code}m${text}\x1b[0m`;
}

/** How standard output may be decorated: colours only where a person looks at it and wants them. */
export function styleOf(io: CommandIo): Style {
  return io.outIsTerminal && io.colours
    ? { heading: sgr(1), good: sgr(32), bad: sgr(31), aside: sgr(2) }
    : { heading: plain, good: plain, bad: plain, aside: plain };
}
