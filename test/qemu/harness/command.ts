/** The command `viommu` as a child, as it is used, and killed. @module */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { DmaText } from './tables.ts';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

interface PrintedMapping {
  readonly iova: string;
  readonly size: number;
  readonly offset: string;
  readonly perm: string;
}

function page(bytes: string | number): string {
  return (BigInt(bytes) >> 12n).toString(16);
}

function isLedger(line: string): boolean {
  return line.startsWith('{"ledger"');
}

/** A child that serves or is a proxy until it is killed, or the test is over. */
export class ViommuCommand {
  /** What it said on standard error. */
  said = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #lines: string[] = [];
  #alarm: { readonly at: number; readonly action: () => void } | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.said += text));
    let rest = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        this.#lines.push(line);
        if (this.#lines.length === this.#alarm?.at) this.#alarm.action();
      }
    });
  }

  /** Starts it and waits until it listens. */
  static async start(...args: string[]): Promise<ViommuCommand> {
    const child = spawn(process.execPath, ['--import', 'tsx', MAIN, ...args], { cwd: ROOT });
    const command = new ViommuCommand(child);
    onTestFinished(() => command.kill());
    await command.#until(() => command.said.includes('listening on'));
    return command;
  }

  /** Lines on standard output so far. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Kills it when it has printed so many more lines. */
  killAfter(more: number): void {
    this.onLines(more, () => void this.kill());
  }

  /** Calls `action` once, when it has printed so many more lines. */
  onLines(more: number, action: () => void): void {
    this.#alarm = { at: this.#lines.length + more, action };
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Writes a line to its standard input. */
  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Sends a signal; nothing can be done about this one. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** Ends it as Ctrl-C would. */
  async interrupt(): Promise<void> {
    this.#child.kill('SIGINT');
    await this.#ended;
  }

  /** The ledger that it prints when asked. */
  async ledger(): Promise<DmaText[]> {
    const before = this.#lines.length;
    this.say('ledger');
    await this.#until(() => this.#lines.slice(before).some(isLedger));
    const line = this.#lines.slice(before).find(isLedger) ?? '';
    const { ledger } = JSON.parse(line) as { ledger: readonly PrintedMapping[] };
    return ledger.map(
      ({ iova, size, offset, perm }) => `${page(iova)}+${page(size)}>${page(offset)} ${perm}`,
    );
  }

  async #until(condition: () => boolean): Promise<void> {
    const deadline = Date.now() + 20_000;
    while (!condition()) {
      if (!this.running || Date.now() > deadline) throw new Error(`viommu did not do its part: ${this.said}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
