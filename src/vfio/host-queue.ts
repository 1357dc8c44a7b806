import type { Mapping } from '../iommu/index.ts';
import { HostRefusedError, type HostIommu, type HostRefusal, type RamSlice } from './host-iommu.ts';
import { NO_TRACE, SentTrace } from './sent-trace.ts';

/**
 * Told when a host did not do what was asked. Must unmap everything that it mapped, or have the refused mappings
 * forgotten, and must not throw.
 */
export interface HostFailures {
  /** The host did not carry out these mappings, at least one. */
  hostRefused(refusals: readonly HostRefusal[]): void;
  /** What the host holds is no longer known: it failed, or did not carry out an unmap. */
  hostLost(error: unknown): void;
}

/**
 * What goes to a host, in order, and what is known of it.
 *
 * At most one barrier is on its way to the host; those who ask meanwhile share the next one. So there is always one
 * stretch of operations to which an answer belongs. Whatever the answer is, a barrier ends well: a refusal makes the
 * owner unmap everything, and the barrier is over when the host has confirmed that, or is lost.
 */
export class HostQueue {
  readonly #host: HostIommu;
  readonly #failures: HostFailures;
  #held = 0;
  #lost = false;
  /** Whether anything was sent since the last barrier. */
  #sent = false;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  /** What map() or unmap() threw, which a host should leave to its barrier. */
  #thrown: { readonly error: unknown } | undefined;
  /** Unmaps sent so far, and how many they were when the stretch to which the next answer belongs began. */
  #unmaps = 0;
  #unmapsBefore = 0;
  /**
   * First pages of mappings that the last answer said were refused, until the next answer. True when the mapping that
   * is there now is surely the refused one, and not another that took its place meanwhile.
   */
  #refused: Map<number, boolean> = new Map();

  /** While refusals can be set aside: which mappings were sent since the host last was idle, and unmapped after that. */
  #trace: SentTrace | undefined;

  constructor(host: HostIommu, failures: HostFailures) {
    this.#host = host;
    this.#failures = failures;
    // The host says why when it is asked, as it does for a loss that a barrier meets.
    host.whenLost?.(() => void this.check());
  }

  /** Mappings that the host should hold. */
  get held(): number {
    return this.#held;
  }

  /** Whether the host failed: for good, unless it is opened anew. */
  get lost(): boolean {
    return this.#lost;
  }

  map(mapping: Mapping, ram: RamSlice): void {
    this.#held++;
    this.#sent = true;
    this.#trace?.mapped(mapping.iova);
    try {
      this.#host.map(mapping, ram);
    } catch (error) {
      this.#thrown ??= { error };
    }
  }

  /**
   * Begins afresh with a host that was opened anew. Everything that was mapped must have been unmapped before, and be
   * confirmed.
   */
  restart(): void {
    this.#lost = false;
    this.#thrown = undefined;
    this.#refused.clear();
    this.#unmapsBefore = this.#unmaps;
    // Should the host be lost once more by now, the first barrier is to find out, even when there is nothing to map.
    this.#sent = true;
  }

  /** Takes back what `map` sent with this `iova` and `pages`. A strict host would answer ENOENT for what it refused. */
  unmap(iova: number, pages: number): void {
    this.#held--;
    if (this.#refused.get(iova) === true) return;
    this.#unmaps++;
    this.#sent = true;
    this.#trace?.unmapped(iova);
    try {
      this.#host.unmap(iova, pages);
    } catch (error) {
      this.#thrown ??= { error };
    }
  }

  /** From now on, or no longer, {@link isDoubtful} can tell refused mappings apart from others in their place. */
  trace(wanted: boolean): void {
    this.#trace = wanted ? new SentTrace(this.#sent || this.#running !== undefined) : undefined;
  }

  /** While `hostRefused` is told: whether what was mapped at `iova` may have been replaced after the refused mapping. */
  isDoubtful(iova: number): boolean {
    const { isCoarse, doubtful } = this.#trace ?? NO_TRACE;
    return isCoarse ? this.#refused.get(iova) !== true : doubtful.has(iova);
  }

  /** A mapping that the host refused is not taken back, but counts as never sent. */
  forget(iova: number): void {
    this.#held--;
    this.#refused.delete(iova);
  }

  /** As {@link barrier}, and asks the host also when nothing was sent: one that is lost then says so. */
  check(): void | Promise<void> {
    this.#sent = true;
    return this.barrier();
  }

  /**
   * Returns, or resolves, when everything sent so far is confirmed or has been dealt with; a host that answers at once
   * never makes it a promise. Never throws.
   */
  barrier(): void | Promise<void> {
    if (this.#running !== undefined) {
      if (!this.#sent) return this.#running;
      this.#next ??= this.#running.then(() => {
        this.#next = undefined;
        return this.barrier();
      });
      return this.#next;
    }
    if (!this.#sent) return;
    const answer = this.#confirm();
    if (answer === undefined) return this.#running;
    this.#running = this.#over(answer);
    return this.#running;
  }

  async #over(answer: Promise<void>): Promise<void> {
    await answer;
    this.#running = undefined;
  }

  #confirm(): Promise<void> | undefined {
    while (this.#sent) {
      this.#sent = false;
      const unmapsBefore = this.#unmapsBefore;
      this.#unmapsBefore = this.#unmaps;
      try {
        const answer = this.#askHost();
        if (answer !== undefined) return this.#await(answer, unmapsBefore);
        this.#answered();
        return undefined;
      } catch (error) {
        this.#failed(error, unmapsBefore);
      }
    }
    this.#answered();
    return undefined;
  }

  #answered(): void {
    this.#refused.clear();
    if (!this.#sent) this.#trace?.restart();
  }

  async #await(answer: Promise<void>, unmapsBefore: number): Promise<void> {
    try {
      await answer;
      this.#answered();
    } catch (error) {
      this.#failed(error, unmapsBefore);
      await this.#confirm();
    }
  }

  #askHost(): void | Promise<void> {
    const thrown = this.#thrown;
    if (thrown === undefined) return this.#host.barrier();
    this.#thrown = undefined;
    // The host has yet to answer for the operations that it did take.
    this.#sent = true;
    throw thrown.error;
  }

  #failed(error: unknown, unmapsBefore: number): void {
    if (!(error instanceof HostRefusedError)) {
      this.#loseHost(error);
      return;
    }
    const certain = this.#unmaps === unmapsBefore;
    const before = this.#refused;
    const refused = new Map<number, boolean>();
    const maps: HostRefusal[] = [];
    let stray = false;
    for (const refusal of error.refusals) {
      const { op, iova, errno } = refusal;
      if (op === 'map') {
        maps.push(refusal);
        refused.set(iova, certain);
      } else {
        // The unmap of a mapping that was refused before finds nothing. Any other may have left a mapping in place.
        const explained = errno === 'ENOENT' && (refused.delete(iova) || before.delete(iova));
        stray ||= !explained;
      }
    }
    this.#refused = refused;
    // What it refused may be for the mapping that it kept: a change on trial is not at fault.
    if (stray) this.#loseHost(error);
    else if (maps.length > 0) this.#failures.hostRefused(maps);
  }

  #loseHost(error: unknown): void {
    this.#lost = true;
    this.#failures.hostLost(error);
  }
}
