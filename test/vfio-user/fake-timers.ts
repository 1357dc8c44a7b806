import type { Timers } from '../../src/vfio-user/index.ts';

/** Time that passes when told to. */
export class FakeTimers implements Timers {
  #now = 0;
  readonly #timers: Set<{ readonly at: number; readonly action: () => void }> = new Set();

  /** Timers that have neither fired nor been cancelled. */
  get pending(): number {
    return this.#timers.size;
  }

  after(milliseconds: number, action: () => void): { cancel(): void } {
    const timer = { at: this.#now + milliseconds, action };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** Lets time pass, and timers fire in their order. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = due.at;
      due.action();
    }
    this.#now = end;
  }
}
