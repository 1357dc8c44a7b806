import { readFileSync } from 'node:fs';

/** Counts the tables that a QEMU reads, by a trace event that it writes into a file for every one. */
export class WalkTrace {
  /** Arguments that make QEMU write the file. */
  readonly args: readonly string[];
  readonly #file: string;
  readonly #event: string;

  /** `file` is not there yet. */
  constructor(event: string, file: string) {
    this.args = ['-trace', event, '-D', file];
    this.#file = file;
    this.#event = event;
  }

  /** Tables read so far; undefined when none was, for then this build may not trace at all. */
  get tables(): number | undefined {
    const tables = this.#text().split(`${this.#event} `).length - 1;
    return tables === 0 ? undefined : tables;
  }

  #text(): string {
    try {
      return readFileSync(this.#file, 'utf8');
    } catch {
      return '';
    }
  }
}
