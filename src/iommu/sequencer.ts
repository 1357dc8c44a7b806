/** One kind of work that a register write asks for. */
export interface Work {
  /** Does it, as far as it can be done now. A promise says that a host has yet to confirm; it must not reject. */
  start(): void | Promise<void>;
  /** Shows in the registers that it is done. May ask for further work. Must not throw. */
  complete(): void;
}

/**
 * Does one piece of work after the other, in the order in which it was first asked for. A piece that waits already is
 * not queued twice, so however much a guest writes meanwhile, no more waits than there are kinds.
 */
export class Sequencer {
  readonly #waiting: Set<Work> = new Set();
  #running = false;
  /** Counts cancellations: what was under way before one must not go on after it. */
  #generation = 0;
  #settling: (() => void)[] = [];

  /** Does `work` now, or after what is under way. */
  request(work: Work): void {
    this.#waiting.add(work);
    this.#run();
  }

  /** Forgets what waits and what is under way. */
  cancel(): void {
    this.#generation++;
    this.#waiting.clear();
    this.#running = false;
  }

  /** Returns, or resolves, when nothing is under way. */
  settled(): void | Promise<void> {
    if (!this.#running && this.#waiting.size === 0) return;
    return new Promise((resolve) => this.#settling.push(resolve));
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    const generation = this.#generation;
    // What is added meanwhile, work that has just been done included, is reached by the same loop.
    for (const work of this.#waiting) {
      this.#waiting.delete(work);
      const pending = work.start();
      if (generation !== this.#generation) return;
      if (pending !== undefined) {
        void pending.then(() => this.#resume(work, generation));
        return;
      }
      work.complete();
      if (generation !== this.#generation) return;
    }
    this.#running = false;
    for (const resolve of this.#settling.splice(0)) resolve();
  }

  #resume(work: Work, generation: number): void {
    if (generation !== this.#generation) return;
    work.complete();
    if (generation !== this.#generation) return;
    this.#running = false;
    this.#run();
  }
}
