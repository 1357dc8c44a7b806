/** How a command that runs until it is told to end is told things. @module */
import { readFileSync } from 'node:fs';

/** Signals that such a command understands. */
export type ControlSignal = 'SIGINT' | 'SIGTERM' | 'SIGUSR1';

/** Signals and standard input, so that tests can be both. */
export interface Controls {
  /** Calls `hear` at each `signal`; the function that is returned ends it. */
  onSignal(signal: ControlSignal, hear: () => void): () => void;
  /**
   * Calls `hear`, which must not reject, with each line of standard input, without its end; reads on when what it
   * returned is settled. The end of standard input is nothing to hear of. The function that is returned ends it.
   */
  onLine(hear: (line: string) => Promise<void>): () => void;
}

/** Longer lines are no order of anybody; what is beyond is dropped. */
const LONGEST_LINE = 256;

/** The controls of this process. */
export function processControls(): Controls {
  return {
    onSignal: (signal, hear) => {
      process.on(signal, hear);
      return () => void process.off(signal, hear);
    },
    onLine: (hear) => {
      // Reading a terminal in the background would stop the process (SIGTTIN).
      if (process.stdin.isTTY && inBackground()) return () => {};
      return readLines(process.stdin, hear);
    },
  };
}

/** Whether the terminal belongs to another process group than ours; fields 5 and 8 of proc_pid_stat(5). */
function inBackground(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[2] !== fields[5];
  } catch {
    return false;
  }
}

/** Standard input that cannot be read says nothing more. */
function ignore(): void {}

/** Lines of a stream, one at a time: while one is being answered the stream is not read. */
export function readLines(input: NodeJS.ReadStream, hear: (line: string) => Promise<void>): () => void {
  let ended = false;
  let line = '';
  const hearAll = async (text: string): Promise<void> => {
    const pieces = text.split('\n');
    for (const [i, piece] of pieces.entries()) {
      line = (line + piece).slice(0, LONGEST_LINE);
      if (i === pieces.length - 1) return;
      const complete = line.replace(/\r$/, '');
      line = '';
      if (!ended) await hear(complete);
    }
  };
  const onData = (text: string): void => {
    input.pause();
    void hearAll(text).finally(() => {
      if (!ended) input.resume();
    });
  };
  input.setEncoding('utf8').on('data', onData).on('error', ignore);
  return () => {
    ended = true;
    input.off('data', onData).pause();
    // A pipe that stays open would keep the process alive.
    input.unref?.();
  };
}
