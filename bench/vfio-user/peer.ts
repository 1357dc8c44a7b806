/** A process that answers each line that it is sent with one line of JSON. @module */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** Longer than anything here takes on any machine. */
const PATIENCE = 120_000;

/** One child process; it ends when its standard input does. */
export class Peer {
  readonly name: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(name: string, command: readonly string[]) {
    const [program = '', ...args] = command;
    this.name = name;
    this.#child = spawn(program, args);
    this.#child.stderr.on('data', (data: Buffer) => {
      this.#errors = (this.#errors + data.toString()).slice(-4096);
    });
    // A process that died is noticed where its answer is missing.
    this.#child.stdin.on('error', () => undefined);
    this.#child.on('error', (error) => {
      this.#errors += error.message;
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The next line that it prints. Rejects when it ends, or prints nothing for two minutes. */
  async line<T>(): Promise<T> {
    const watchdog = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE);
    try {
      const line = await this.#lines.next();
      if (line.done === true) throw new Error(`${this.name} ended early:\n${this.#errors}`);
      return JSON.parse(line.value) as T;
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** Sends a line and gives the answer. */
  ask<T>(line: string): Promise<T> {
    this.#child.stdin.write(`${line}\n`);
    return this.line<T>();
  }

  /** Ends its standard input, and the process itself when that does not end it. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined)
      return;
    const exited = once(this.#child, 'exit');
    this.#child.stdin.end();
    const impatience = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await exited;
    clearTimeout(impatience);
  }
}
