import { printable } from '../terminal/text.ts';
import type { Clock } from './clock.ts';

/** Remarks within one window of time; a peer that causes more must not fill a disk. */
const REMARKS = 20;
const WINDOW_MS = 10_000;

/** Remarks of a command that may run for months: what a window has too many of is only counted. */
export class PacedRemarks {
  readonly #clock: Clock;
  readonly #say: (line: string) => void;
  #windowEnd = 0;
  #said = 0;
  #leftOut = 0;

  /** @param say takes a line without its end, fit for a terminal */
  constructor(clock: Clock, say: (line: string) => void) {
    this.#clock = clock;
    this.#say = say;
  }

  /** Says `line`, control characters escaped, unless too much was said lately. */
  add(line: string): void {
    const now = this.#clock.now();
    if (now >= this.#windowEnd) {
      this.end();
      this.#windowEnd = now + WINDOW_MS;
      this.#said = 0;
    }
    if (this.#said++ < REMARKS) this.#say(printable(line));
    else this.#leftOut++;
  }

  /** Says how many remarks were left out since. */
  end(): void {
    if (this.#leftOut > 0) this.#say(`${this.#leftOut} further remarks were left out`);
    this.#leftOut = 0;
  }
}
