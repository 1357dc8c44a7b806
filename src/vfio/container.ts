import type { Mapping } from '../iommu/index.ts';
import type {
  AddressSpace,
  Attempt,
  MemoryListener,
  MemorySection,
  Observer,
  PageRange,
} from '../memory/index.ts';
import { type AttachReport, attachReport } from './attach-report.ts';
import { ContainerAttempt } from './container-attempt.ts';
import { ContainerSections } from './container-sections.ts';
import {
  describeLost,
  describeNotReopened,
  describeRefused,
  observeFailure,
  quarantineFor,
} from './describe-failure.ts';
import type { HostIommu, HostRefusal } from './host-iommu.ts';
import { HostQueue } from './host-queue.ts';
import { LimitGuard } from './limit-guard.ts';
import { PlugRefusedError, type Quarantine, type Refusal } from './refusal.ts';
import type { MapperContext, SectionMapper } from './section-mapper.ts';
import { SectionReporter } from './section-reporter.ts';

/** Where a container is; `attaching` and `detaching` last until the host has confirmed. */
export type ContainerState =
  | { readonly kind: 'detached' | 'attaching' | 'attached' | 'detaching' }
  | Quarantine;

/** How a container is called, and who hears of it. */
export interface VfioContainerOptions {
  /** Name for people, of the device or group. */
  readonly name: string;
  /** Hears of `not-mapped`, `not-ram`, `quarantined`, `host-lost`, `released` and `callback-failed`. */
  readonly observer?: Observer;
  /**
   * Called once for every quarantine, so that the guest can be told in the way of its IOMMU. From then on nothing is
   * mapped; that what was mapped is gone is sure after the next barrier. It should not throw.
   */
  readonly onQuarantine?: (quarantine: Quarantine) => void;
}

type Phase = 'detached' | 'attaching' | 'attached' | 'quarantined' | 'releasing' | 'detaching';

/**
 * Mirrors what a device sees, one address space, into one host IOMMU, which must be nobody else's.
 *
 * RAM is mapped where it is seen, translated sections are replayed and followed, sections that come and go take their
 * mappings with them. A plug takes place as a whole or not at all. When later something cannot be mirrored, the device
 * is quarantined: one that lacks mappings its guest believes in is worse than one that is cut off.
 */
export class VfioContainer implements MemoryListener {
  readonly name: string;
  readonly #space: AddressSpace;
  readonly #host: HostIommu;
  readonly #queue: HostQueue;
  readonly #context: MapperContext & { guard: LimitGuard };
  readonly #reporter: SectionReporter;
  readonly #onQuarantine: ((quarantine: Quarantine) => void) | undefined;
  readonly #sections: ContainerSections;
  #phase: Phase = 'detached';
  /** Why nothing may be mapped; the first reason counts, unless the host is lost after it. */
  #failure: Refusal | undefined;
  #quarantine: Quarantine | undefined;
  #attempt: ContainerAttempt | undefined;
  /** The last of attach, release and detach while it is not over: they take turns. */
  #turn: Promise<void> | undefined;

  /** Does nothing to either side until {@link attach}. RangeError when the host announces no page size. */
  constructor(space: AddressSpace, host: HostIommu, options: VfioContainerOptions) {
    this.name = options.name;
    this.#space = space;
    this.#host = host;
    this.#onQuarantine = options.onQuarantine;
    this.#reporter = new SectionReporter(options.name, options.observer);
    this.#queue = new HostQueue(host, {
      hostRefused: (refusals) => this.#hostRefused(refusals),
      hostLost: (error) => this.#fail(describeLost(host, error)),
    });
    this.#context = {
      queue: this.#queue,
      guard: new LimitGuard(host),
      reporter: this.#reporter,
      failed: (refusal, mapper) => this.#sectionFailed(refusal, mapper),
      barrier: () => this.barrier(),
    };
    this.#sections = new ContainerSections(this.#context);
  }

  /** Where the container is. A quarantined device stays so while its release is under way. */
  get state(): ContainerState {
    const phase = this.#phase;
    if (phase === 'quarantined' || phase === 'releasing') return this.#quarantine as Quarantine;
    return { kind: phase };
  }

  /** What the host should hold, ascending, in pages of the address space; exact after a barrier. */
  *mappings(): Iterable<Mapping> {
    for (const mapper of this.#sections.ascending()) yield* mapper.mappings();
  }

  /**
   * Plugs the device: everything that its address space shows now goes into the host, and is followed from then on. A
   * host that was lost before is opened anew, if it can be.
   *
   * @throws PlugRefusedError when any of it was refused or cannot be followed: then all was taken back, the host has
   *   confirmed that, and nobody is listening any more. Error when the container is attached already.
   */
  attach(): Promise<AttachReport> {
    return this.#inTurn(() => this.#attach());
  }

  /** Unplugs the device: when this resolves the host has confirmed that nothing is left, or is lost. Never rejects. */
  detach(): Promise<void> {
    return this.#inTurn(() => this.#detach());
  }

  /**
   * Lifts a quarantine: maps what the address space shows now, as {@link attach} does. A host that was lost is opened
   * anew first, if it can be. Nothing happens when the device is not quarantined.
   *
   * @throws PlugRefusedError when something was refused again, or the host is still lost: then the device stays
   *   quarantined, for that reason.
   */
  release(): Promise<void> {
    return this.#inTurn(() => this.#release());
  }

  /** See {@link MemoryListener.barrier}. Never throws: what the host refuses ends in a quarantine, not here. */
  barrier(): void | Promise<void> {
    return this.#queue.barrier();
  }

  /**
   * See {@link MemoryListener.attempt}. Only a device that is plugged in takes part: a plug or a release that meets a
   * refusal meanwhile fails itself, and a host that is lost is a quarantine in any case.
   */
  attempt(): Attempt {
    const attempt = new ContainerAttempt((missing) => {
      if (this.#attempt === attempt) {
        this.#attempt = undefined;
        this.#queue.trace(false);
      }
      for (const [mapper, range] of missing) this.#renew(mapper, range);
    });
    this.#attempt = attempt;
    this.#queue.trace(true);
    return attempt;
  }

  sectionAdded(section: MemorySection): void {
    const mapper = this.#sections.add(section);
    if (mapper !== undefined) this.#activate(mapper);
  }

  sectionRemoved(section: MemorySection): void {
    this.#sections.remove(section)?.deactivate();
  }

  async #attach(): Promise<AttachReport> {
    if (this.#phase !== 'detached') throw new Error(`${this.name} is attached already: detach it first`);
    // It may have been lost before this container knew it.
    if (this.#host.reopen !== undefined && this.#queue.check() !== undefined) await this.#confirmed();
    if (this.#queue.lost) await this.#reopenHost();
    this.#phase = 'attaching';
    this.#failure = undefined;
    const notRamBefore = this.#reporter.notRamCount;
    this.#space.addListener(this);
    const notRam = this.#reporter.notRamCount - notRamBefore;
    const report = attachReport(this.#sections.ascending(), this.#queue.held, notRam);
    const refusal = await this.#conclude();
    if (refusal === undefined) return report;
    this.#leave();
    throw new PlugRefusedError(this.name, this.#host.name, refusal);
  }

  async #detach(): Promise<void> {
    if (this.#phase === 'detached') return;
    this.#phase = 'detaching';
    this.#withdraw();
    await this.#confirmed();
    this.#leave();
  }

  async #release(): Promise<void> {
    if (this.#phase !== 'quarantined') return;
    if (this.barrier() !== undefined) await this.#confirmed();
    if (this.#queue.lost) await this.#reopenHost();
    this.#phase = 'releasing';
    this.#failure = undefined;
    for (const mapper of this.#sections.ascending()) this.#activate(mapper);
    const refusal = await this.#conclude();
    if (refusal === undefined) {
      this.#reporter.observe({ kind: 'released', message: `${this.name} has its mappings again` });
      return;
    }
    this.#phase = 'quarantined';
    this.#quarantine = quarantineFor(refusal);
    throw new PlugRefusedError(this.name, this.#host.name, refusal);
  }

  /** The listener is the last to go: until the host has confirmed, a guest's invalidation must wait for it. */
  #leave(): void {
    this.#space.removeListener(this);
    this.#sections.clear();
    this.#quarantine = undefined;
    this.#phase = 'detached';
  }

  /** Nothing is mapped while this goes on: there is a failure that forbids it. */
  async #reopenHost(): Promise<void> {
    const host = this.#host;
    let refusal = this.#failure;
    if (host.reopen !== undefined) {
      try {
        await host.reopen();
        this.#context.guard = new LimitGuard(host);
        await this.#confirmed();
        this.#queue.restart();
        return;
      } catch (error) {
        refusal = describeNotReopened(host.name, error);
        this.#failure = refusal;
        if (this.#phase === 'quarantined') this.#quarantine = quarantineFor(refusal);
      }
    }
    throw new PlugRefusedError(this.name, host.name, refusal as Refusal);
  }

  /** Waits for the host's word on a plug or release. Why it failed, if it did, when the host has confirmed that nothing is left of it. */
  async #conclude(): Promise<Refusal | undefined> {
    const answer = this.barrier();
    if (answer !== undefined) await answer;
    if (this.#failure === undefined) {
      // In the same breath as the question: a refusal that arrives after it must find the device attached.
      this.#phase = 'attached';
      this.#quarantine = undefined;
      return undefined;
    }
    await this.#confirmed();
    return this.#failure;
  }

  /** Waits until nothing is on its way to the host. Only while nothing new is mapped: a busy guest would keep it here. */
  async #confirmed(): Promise<void> {
    for (let answer = this.barrier(); answer !== undefined; answer = this.barrier()) await answer;
  }

  #activate(mapper: SectionMapper): void {
    if (this.#failure !== undefined || this.#phase === 'detaching') return;
    const refusal = mapper.activate();
    if (refusal !== undefined) this.#sectionFailed(refusal, mapper);
  }

  /** Looks again at what was refused during an attempt, if that is still shown. */
  #renew(mapper: SectionMapper, range: PageRange | undefined): void {
    if (this.#phase !== 'attached' || !this.#sections.has(mapper)) return;
    const refusal = mapper.renew(range);
    if (refusal !== undefined) this.#sectionFailed(refusal, mapper);
  }

  /** The attempt in which a refusal is to be set aside, if there is one. */
  get #trial(): ContainerAttempt | undefined {
    return this.#phase === 'attached' ? this.#attempt : undefined;
  }

  #sectionFailed(refusal: Refusal, mapper: SectionMapper): void {
    const trial = this.#trial;
    if (trial !== undefined) {
      trial.note(refusal, mapper);
      return;
    }
    this.#fail(refusal);
    void this.barrier();
  }

  #hostRefused(refusals: readonly HostRefusal[]): void {
    const trial = this.#trial;
    for (const refusal of refusals) {
      const { iova, pages } = refusal;
      const mapper = this.#sections.holding(iova);
      const standing = mapper?.find(iova);
      const described = describeRefused(this.#host.name, refusal, standing);
      const stands = standing?.iova === iova && standing.pages === pages ? mapper : undefined;
      if (trial === undefined || (stands !== undefined && !this.#forget(stands, refusal))) {
        this.#fail(described);
        return;
      }
      trial.note(described, stands);
    }
  }

  /** What stands there may be a later mapping just like the refused one, which the host has: then only a clean slate is sure. */
  #forget(mapper: SectionMapper, { iova, pages }: HostRefusal): boolean {
    if (this.#queue.isDoubtful(iova) || !mapper.forget(iova, pages)) return false;
    this.#queue.forget(iova);
    return true;
  }

  /** Takes everything back, and ends all following. */
  #withdraw(): void {
    for (const mapper of this.#sections.ascending()) mapper.deactivate();
  }

  #fail(refusal: Refusal): void {
    const lost = refusal.cause === 'host-lost';
    const before = this.#failure;
    if (before !== undefined && (!lost || before.cause === 'host-lost')) return;
    this.#failure = refusal;
    this.#withdraw();
    // Who plugs or releases learns of a refusal by its error.
    const atRunTime = this.#phase === 'attached';
    if (atRunTime || (lost && this.#phase !== 'detached')) observeFailure(this.#reporter, this.name, refusal);
    if (!atRunTime && this.#phase !== 'quarantined') return;
    const quarantine = quarantineFor(refusal);
    this.#phase = 'quarantined';
    this.#quarantine = quarantine;
    if (atRunTime) this.#tell(quarantine);
  }

  #tell(quarantine: Quarantine): void {
    try {
      this.#onQuarantine?.(quarantine);
    } catch (error) {
      // Whatever fails in there, the guest's other devices and this device's barrier must go on.
      this.#reporter.observe({
        kind: 'callback-failed',
        message: `onQuarantine of ${this.name} threw: ${String(error)}`,
      });
    }
  }

  /** A step that begins when the one before is over; at once when there is none. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#turn === undefined ? step() : this.#turn.then(step);
    const over = (): void => {
      if (this.#turn === turn) this.#turn = undefined;
    };
    const turn = result.then(over, over);
    this.#turn = turn;
    return result;
  }
}
