/** The parent's end of a contender's process. @module */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Measurement } from './variant.ts';

/** A process that measures on request: a worker, or the C floor. */
export class Contender {
  readonly name: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  /** Starts `command`, which answers each line as worker.ts says. */
  constructor(name: string, command: readonly string[]) {
    const [program = '', ...args] = command;
    this.name = name;
    this.#child = spawn(program, args);
    this.#child.stderr.on('data', (data: Buffer) => {
      this.#errors += data.toString();
    });
    // A process that died is noticed where its answer is missing.
    this.#child.stdin.on('error', () => undefined);
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Has the work done `times` times over. */
  async measure(times: number): Promise<Measurement> {
    this.#child.stdin.write(`${times}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`benchmark ${this.name} ended early:\n${this.#errors}`);
    return JSON.parse(line.value) as Measurement;
  }

  /** Ends the process. */
  end(): void {
    this.#child.stdin.end();
    this.#child.kill();
  }
}
