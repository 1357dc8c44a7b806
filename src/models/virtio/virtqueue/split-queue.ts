import type { AddressSpace } from '../../../memory/index.ts';
import * as spec from '../spec/index.ts';
import { Chain } from './chain.ts';
import { ChainReader } from './chain-reader.ts';
import { GuestRam, type Place, placeBehind, placeOf } from './guest-ram.ts';

/** Where a driver put a queue: guest-physical byte addresses. */
export interface QueueSetup {
  /** Entries, a power of two. */
  readonly size: number;
  /** Descriptor area, a multiple of 16. */
  readonly descriptors: bigint;
  /** Driver area (available ring), a multiple of 2. */
  readonly driver: bigint;
  /** Device area (used ring), a multiple of 4. */
  readonly device: bigint;
}

/** What was negotiated that concerns queues. */
export interface QueueFeatures {
  /** VIRTIO_F_INDIRECT_DESC. */
  readonly indirect: boolean;
  /** VIRTIO_F_EVENT_IDX. */
  readonly eventIndex: boolean;
}

/**
 * A split virtqueue as its device sees it.
 *
 * A buffer whose descriptors make no sense can still be given back. A ring that makes none, or does not lie in RAM, leaves
 * nothing to give back: then the queue is `broken`, and hands out and takes nothing more.
 */
export class SplitQueue {
  readonly size: number;
  readonly #ram: GuestRam;
  readonly #features: QueueFeatures;
  readonly #reader: ChainReader;
  readonly #driver: Place;
  readonly #device: Place;
  /** Index of the next available entry to be looked at, and of the next used entry; both wrap at 2^16. */
  #taken = 0;
  #used = 0;
  /** `#used` when notifications were last considered. */
  #told = 0;
  #broken: string | undefined;
  readonly #element: Uint8Array = new Uint8Array(spec.USED_ELEM_BYTES);

  /** `setup` is one that {@link isPossible} found possible. */
  constructor(memory: AddressSpace, setup: QueueSetup, features: QueueFeatures) {
    this.size = setup.size;
    this.#ram = new GuestRam(memory);
    this.#features = features;
    this.#reader = new ChainReader(this.#ram, placeAt(setup.descriptors), setup.size, features.indirect);
    this.#driver = placeAt(setup.driver);
    this.#device = placeAt(setup.device);
  }

  /** Why the queue cannot go on, for people; only a reset mends that. */
  get broken(): string | undefined {
    return this.#broken;
  }

  /** The next buffer that the driver made available; undefined when there is none, or the queue is broken. */
  take(): Chain | undefined {
    if (this.#broken !== undefined) return undefined;
    const available = this.#ram.read16(placeBehind(this.#driver, spec.AVAIL_IDX));
    if (available === undefined) return this.#break('the available ring does not lie in RAM');
    const count = (available - this.#taken) & 0xffff;
    if (count === 0) return undefined;
    if (count > this.size) {
      return this.#break(`${count} buffers are available in a queue of ${this.size}`);
    }
    const entry = spec.AVAIL_RING + spec.AVAIL_ENTRY_BYTES * (this.#taken % this.size);
    const head = this.#ram.read16(placeBehind(this.#driver, entry));
    if (head === undefined) return this.#break('the available ring does not lie in RAM');
    if (head >= this.size) return this.#break(`descriptor ${head} is available in a queue of ${this.size}`);
    this.#taken = (this.#taken + 1) & 0xffff;
    return new Chain(this.#ram, head, this.#reader.read(head));
  }

  /** Gives `chain` back, of which `length` bytes were written; with 0 the driver knows that it was not used. */
  put(chain: Chain, length: number): void {
    if (this.#broken !== undefined) return;
    const view = new DataView(this.#element.buffer);
    view.setUint32(spec.USED_ELEM_ID, chain.head, true);
    view.setUint32(spec.USED_ELEM_LEN, length, true);
    const entry = spec.USED_RING + spec.USED_ELEM_BYTES * (this.#used % this.size);
    const next = (this.#used + 1) & 0xffff;
    // The index last: it exposes the entry (virtio 1.3, 2.7.8.2).
    const stored =
      this.#ram.write(placeBehind(this.#device, entry), this.#element) &&
      this.#ram.write16(placeBehind(this.#device, spec.USED_IDX), next);
    if (stored) this.#used = next;
    else this.#break('the used ring does not lie in RAM');
  }

  /** Whether the driver wants to be notified of what was given back since it was last asked (virtio 1.3, 2.7.7.2). */
  wantsNotification(): boolean {
    const count = (this.#used - this.#told) & 0xffff;
    this.#told = this.#used;
    if (count === 0 || this.#broken !== undefined) return false;
    if (!this.#features.eventIndex) {
      const flags = this.#ram.read16(placeBehind(this.#driver, spec.AVAIL_FLAGS));
      return flags === undefined || (flags & spec.AVAIL_F_NO_INTERRUPT) === 0;
    }
    const usedEvent = this.#ram.read16(
      placeBehind(this.#driver, spec.AVAIL_RING + spec.AVAIL_ENTRY_BYTES * this.size),
    );
    return usedEvent === undefined || ((this.#used - 1 - usedEvent) & 0xffff) < count;
  }

  /** Asks to be notified of the next buffer; buffers that came before that must be looked for once more. */
  expectMore(): void {
    if (!this.#features.eventIndex || this.#broken !== undefined) return;
    const availEvent = placeBehind(this.#device, spec.USED_RING + spec.USED_ELEM_BYTES * this.size);
    if (!this.#ram.write16(availEvent, this.#taken)) this.#break('the used ring does not lie in RAM');
  }

  #break(reason: string): undefined {
    this.#broken ??= reason;
    return undefined;
  }
}

/** Whether a device with queues of at most `most` entries can have a queue so (virtio 1.3, 2.7). */
export function isPossible(setup: QueueSetup, most: number): boolean {
  const { size, descriptors, driver, device } = setup;
  return (
    Number.isInteger(size) &&
    size > 0 &&
    size <= most &&
    (size & (size - 1)) === 0 &&
    isAligned(descriptors, spec.DESC_ALIGN) &&
    isAligned(driver, spec.AVAIL_ALIGN) &&
    isAligned(device, spec.USED_ALIGN)
  );
}

function isAligned(address: bigint, alignment: number): boolean {
  return address >= 0n && address >> 64n === 0n && address % BigInt(alignment) === 0n;
}

function placeAt(address: bigint): Place {
  return placeOf(Number(address & 0xffff_ffffn), Number(address >> 32n));
}
