import { overlaps, type PageRange } from '../../memory/index.ts';
import { Errno } from '../wire/index.ts';
import type { DmaRefusal } from './dma-refusal.ts';

/**
 * Direct access to guest memory that is under way: the client's unmap of any of it is answered only after `release`.
 * Made by {@link DeviceMemory.hold}.
 */
export interface DmaHold {
  readonly address: bigint;
  readonly size: bigint;
  /** False when released, and when the client has gone: then the memory must not be touched any more. */
  readonly valid: boolean;
  /** Ends it; a second time does nothing. */
  release(): void;
}

/** A DMA message that the client has not answered. */
export interface DmaInFlight {
  readonly range: PageRange;
  /** Fails it towards the device; the client's answer, if it still comes, is ignored. */
  abandon(why: DmaRefusal): void;
}

interface Waiter {
  isOver(): boolean;
  resolve(): void;
}

/**
 * What DMA is under way, and what has to wait for it.
 *
 * An unmap waits for holds: the memory may not go while somebody touches it. It does not wait for messages, which it
 * abandons: QEMU sends an unmap and serves nothing until it is answered, our DMA_READ and DMA_WRITE included, so that
 * each side would wait for the other.
 */
export class DmaTraffic {
  readonly #holds: Set<Hold> = new Set();
  readonly #inFlight: Set<DmaInFlight> = new Set();
  #waiters: Waiter[] = [];
  #unmapping: PageRange | undefined;
  #isQuiesced = false;

  /** Quiesced, and nothing is under way any more. */
  get isAtRest(): boolean {
    return this.#isQuiesced && this.#holds.size === 0;
  }

  /** Why new DMA in `range` is not to begin now. */
  refusal(range: PageRange): DmaRefusal | undefined {
    if (this.#isQuiesced) {
      return { errno: Errno.EBUSY, reason: 'the server is quiesced: wait until it resumes' };
    }
    if (this.#unmapping !== undefined && overlaps(this.#unmapping, range)) {
      return { errno: Errno.EFAULT, reason: 'the client is unmapping it' };
    }
    return undefined;
  }

  /** Begins direct access to `range`; the caller has seen that nothing refuses it. */
  hold(address: bigint, size: bigint, range: PageRange): DmaHold {
    const hold = new Hold(address, size, range, () => {
      this.#holds.delete(hold);
      this.#settle();
    });
    this.#holds.add(hold);
    return hold;
  }

  /** A message is on its way. */
  sent(message: DmaInFlight): void {
    this.#inFlight.add(message);
  }

  /** A message is over, however it ended. */
  ended(message: DmaInFlight): void {
    this.#inFlight.delete(message);
    this.#settle();
  }

  /**
   * `range` is about to be unmapped: messages in it are abandoned. When direct access is under way there, new DMA in
   * it is refused from now until `unmapped`, and the promise resolves when the last has ended.
   */
  unmapping(range: PageRange): Promise<void> | undefined {
    if (this.#inFlight.size > 0) this.#abandon(range);
    if (this.#holds.size === 0 || !this.#isHeld(range)) return undefined;
    this.#unmapping = range;
    return this.#until(() => !this.#isHeld(range));
  }

  /** The unmap that was waited for is done. */
  unmapped(): void {
    this.#unmapping = undefined;
  }

  /** The client is gone, and its messages have failed with it: holds are no longer valid. */
  disconnect(): void {
    for (const hold of this.#holds) hold.invalidate();
    this.#holds.clear();
    this.#unmapping = undefined;
    this.#settle();
  }

  /** Refuses new DMA; resolves when none is under way. */
  quiesce(): Promise<void> {
    this.#isQuiesced = true;
    return this.#until(() => this.#holds.size === 0 && this.#inFlight.size === 0);
  }

  /** Lets DMA begin again. */
  resume(): void {
    this.#isQuiesced = false;
  }

  #abandon(range: PageRange): void {
    for (const message of this.#inFlight) {
      if (!overlaps(message.range, range)) continue;
      this.#inFlight.delete(message);
      message.abandon({ errno: Errno.EFAULT, reason: 'the client unmapped it before it answered' });
    }
    this.#settle();
  }

  #isHeld(range: PageRange): boolean {
    for (const hold of this.#holds) if (overlaps(hold.range, range)) return true;
    return false;
  }

  #until(isOver: () => boolean): Promise<void> {
    if (isOver()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push({ isOver, resolve });
    });
  }

  #settle(): void {
    if (this.#waiters.length === 0) return;
    const over = this.#waiters.filter((waiter) => waiter.isOver());
    this.#waiters = this.#waiters.filter((waiter) => !over.includes(waiter));
    for (const waiter of over) waiter.resolve();
  }
}

class Hold implements DmaHold {
  readonly address: bigint;
  readonly size: bigint;
  readonly range: PageRange;
  readonly #end: () => void;
  #valid = true;

  constructor(address: bigint, size: bigint, range: PageRange, end: () => void) {
    this.address = address;
    this.size = size;
    this.range = range;
    this.#end = end;
  }

  get valid(): boolean {
    return this.#valid;
  }

  release(): void {
    if (!this.#valid) return;
    this.#valid = false;
    this.#end();
  }

  invalidate(): void {
    this.#valid = false;
  }
}
