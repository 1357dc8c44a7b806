/** How a command talks to its surroundings, so that tests can run it in their own process. @module */

/** Where a command writes, and who is there to read it. */
export interface CommandIo {
  /**
   * Writes to standard output. Await it before writing more: it is what keeps memory bounded when the reader is slow.
   *
   * @throws OutputClosedError when nobody reads any more; OutputError when it cannot be written
   */
  out(text: string): Promise<void>;
  /** Throws away what was given to `out` and has not been written: its reader does not read. */
  giveUp(): void;
  /** Writes to standard error. Never fails: there is nowhere left to say so. */
  err(text: string): void;
  /** Whether standard output, or standard error, is a terminal that a person looks at. */
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  /** Columns of the terminal, or undefined when there is none. */
  readonly columns: number | undefined;
  /** Whether colours are wanted where there is a terminal. */
  readonly colours: boolean;
}

/** The reader of standard output went away, as `head` does when it has seen enough. Not a failure. */
export class OutputClosedError extends Error {
  override readonly name = 'OutputClosedError';
  readonly code = 'VIOMMU_OUTPUT_CLOSED';
}

/** Standard output cannot be written, as on a full disk. */
export class OutputError extends Error {
  override readonly name = 'OutputError';
  readonly code = 'VIOMMU_OUTPUT';
}

/** The surroundings of a process. */
export interface ProcessIo extends CommandIo {
  /** Whether something was given up: only an end by force does not wait for it. */
  readonly gaveUp: boolean;
}

/** The surroundings of this process. Call it once: it takes over the errors of both streams. */
export function processIo(): ProcessIo {
  const { stdout, stderr, env } = process;
  // Without listeners a broken pipe would end the process with a stack trace; each write learns of it by itself.
  stdout.on('error', () => {});
  stderr.on('error', () => {});
  let gaveUp = false;
  return {
    out: (text) =>
      new Promise((resolve, reject) => {
        stdout.write(text, (error) => (error ? reject(outputFailure(error)) : resolve()));
      }),
    giveUp: () => {
      gaveUp = true;
    },
    get gaveUp() {
      return gaveUp;
    },
    err: (text) => void stderr.write(text),
    outIsTerminal: stdout.isTTY,
    errIsTerminal: stderr.isTTY,
    columns: stdout.isTTY ? stdout.columns : stderr.isTTY ? stderr.columns : undefined,
    // https://no-color.org: any value but the empty one.
    colours: (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb',
  };
}

function outputFailure(error: Error): Error {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED') return new OutputClosedError(error.message);
  return new OutputError(`standard output cannot be written (${error.message}); check the disk or the pipe`);
}
