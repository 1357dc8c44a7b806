/**
 * What was sent to a host since it was last idle, as far as it takes to say whether a mapping that the host refused is
 * the one that is known at its place now, or was followed there by another.
 */
export class SentTrace {
  /** First pages of mappings that were unmapped after they had been sent. */
  readonly doubtful: Set<number> = new Set();
  readonly #mapped: Set<number> = new Set();
  #isCoarse: boolean;

  /** `isCoarse` when something was on its way already that the trace has not seen. */
  constructor(isCoarse: boolean) {
    this.#isCoarse = isCoarse;
  }

  /** Whether the trace does not know everything that is on its way. */
  get isCoarse(): boolean {
    return this.#isCoarse;
  }

  mapped(iova: number): void {
    this.#mapped.add(iova);
  }

  unmapped(iova: number): void {
    if (this.#mapped.has(iova)) this.doubtful.add(iova);
  }

  /** The host is idle. */
  restart(): void {
    this.#isCoarse = false;
    this.#mapped.clear();
    this.doubtful.clear();
  }
}

/** The trace of whoever keeps none. */
export const NO_TRACE: Pick<SentTrace, 'isCoarse' | 'doubtful'> = { isCoarse: true, doubtful: new Set() };
