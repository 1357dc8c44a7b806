import { type CommandIo, OutputClosedError } from '../../src/cli/terminal/io.ts';
import type { ReplayJob } from '../../src/cli/replay.ts';
import { run } from '../../src/cli/run.ts';

/** What a command wrote and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** Calls of io.out. */
  readonly writes: number;
}

export interface ConsoleOptions {
  /** Both streams are terminals. */
  readonly terminal?: boolean;
  /** NO_COLOR is not set. */
  readonly colours?: boolean;
  /** The reader goes away after so many writes. */
  readonly closesAfter?: number;
  readonly job?: ReplayJob;
}

/** Runs one command line in this process. */
export async function viommu(argv: readonly string[], options: ConsoleOptions = {}): Promise<Outcome> {
  const { terminal = false, colours = true, closesAfter = Infinity, job } = options;
  let out = '';
  let err = '';
  let writes = 0;
  const io: CommandIo = {
    out: (text) => {
      if (writes++ >= closesAfter) return Promise.reject(new OutputClosedError('closed'));
      out += text;
      return Promise.resolve();
    },
    giveUp: () => {},
    err: (text) => {
      err += text;
    },
    outIsTerminal: terminal,
    errIsTerminal: terminal,
    columns: terminal ? 80 : undefined,
    colours,
  };
  const code = await run(argv, io, job);
  return { code, out, err, writes };
}

/** The lines of a text that ends with a line end, without it. */
export function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

/** Every line parsed as JSON. */
export function jsonLines(text: string): unknown[] {
  return linesOf(text).map((line) => JSON.parse(line) as unknown);
}
