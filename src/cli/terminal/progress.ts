import type { CommandIo } from './io.ts';
import { printable } from './text.ts';

/** A status line that changes more often only costs time. */
const INTERVAL_MS = 100;
/** Work that is done before a person wonders needs no status line. */
const DELAY_MS = 400;

/** One status line on standard error while long work goes on; nothing where standard error is no terminal. */
export class Progress {
  readonly #io: CommandIo;
  #next: number;
  #shown = false;

  constructor(io: CommandIo) {
    this.#io = io;
    this.#next = performance.now() + DELAY_MS;
  }

  /** Shows `text()` if it is time to. */
  update(text: () => string): void {
    if (!this.#io.errIsTerminal) return;
    const now = performance.now();
    if (now < this.#next) return;
    this.#next = now + INTERVAL_MS;
    const width = (this.#io.columns ?? 80) - 1;
    this.#io.err(`\r\x1b[K${printable(text()).slice(0, width)}`);
    this.#shown = true;
  }

  /** Takes the line away, before anything else is written. */
  clear(): void {
    if (!this.#shown) return;
    this.#io.err('\r\x1b[K');
    this.#shown = false;
  }
}
