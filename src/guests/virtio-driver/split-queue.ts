/** The driver's side of a split virtqueue (virtio 1.3, 2.7): descriptor table, available ring, used ring. @module */
import { PAGE_SIZE } from '../../memory/index.ts';

import { spec } from '../../models/virtio/index.ts';
import { GuestDriverError } from '../driver/error.ts';
import type { DriverPages } from '../driver/pages.ts';
import { SharedArea } from './shared-area.ts';
import type { QueueAreas } from './transport.ts';

/** A part of a buffer: guest-physical bytes that the device reads or writes. */
export interface Element {
  readonly address: bigint;
  /** Bytes. */
  readonly length: number;
  /** The device writes it (DESC_F_WRITE); otherwise it reads it. */
  readonly writable: boolean;
}

/** A buffer that the device has given back. */
export interface UsedBuffer {
  /** What {@link SplitQueue.add} gave. */
  readonly head: number;
  /** Bytes that the device says it wrote. */
  readonly length: number;
}

/** Where a table of indirect descriptors may be written: 16 bytes for each element of the buffer. */
export interface IndirectPlace {
  readonly area: SharedArea;
  readonly offset: number;
}

/** One queue in guest memory. It knows chains of descriptors, not what is in them, and tells nobody. */
export class SplitQueue {
  readonly size: number;
  readonly #area: SharedArea;
  readonly #avail: number;
  readonly #used: number;
  /** Descriptors that no buffer holds; the last one is taken first. */
  readonly #free: number[];
  /** Descriptors of each buffer that the device has, by their head. */
  readonly #held: Map<number, readonly number[]> = new Map();
  /** Index of the next entry of the available ring, 16 bits; what lies before `idx` there has been published. */
  #next = 0;
  /** Index of the next entry of the used ring that has not been taken, 16 bits. */
  #taken = 0;

  /**
   * A queue of `size` descriptors in pages of its own.
   *
   * @throws GuestDriverError `bad-argument` when `size` is not a power of two up to 32,768 (virtio 1.3, 2.7)
   */
  constructor(pages: DriverPages, size: number) {
    if (!Number.isInteger(Math.log2(size)) || size < 1 || size > spec.QUEUE_SIZE_MAX) {
      throw new GuestDriverError(
        'bad-argument',
        `a queue of ${size} descriptors: the size of a split queue is a power of two up to ${spec.QUEUE_SIZE_MAX}`,
      );
    }
    this.size = size;
    const { desc, avail, used } = spec.queueBytes(size);
    this.#avail = desc;
    this.#used = alignUp(desc + avail, spec.USED_ALIGN);
    this.#area = new SharedArea(pages, Math.ceil((this.#used + used) / PAGE_SIZE));
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
  }

  /** Where the device finds it. */
  get areas(): QueueAreas {
    return {
      size: this.size,
      desc: this.#area.address(0),
      driver: this.#area.address(this.#avail),
      device: this.#area.address(this.#used),
    };
  }

  /** Descriptors that are free. */
  get room(): number {
    return this.#free.length;
  }

  /** Buffers that the device has. */
  get held(): number {
    return this.#held.size;
  }

  /** Whether the device wants to be told of new buffers (virtio 1.3, 2.7.10, without VIRTIO_F_EVENT_IDX). */
  get wantsNotification(): boolean {
    return (this.#area.half(this.#used + spec.USED_FLAGS) & spec.USED_F_NO_NOTIFY) === 0;
  }

  /**
   * Puts a buffer into the queue and gives the head of its chain. The device sees it after {@link publish}. With
   * `indirect`, its descriptors are written there and it takes one of the queue's (virtio 1.3, 2.7.5.3).
   *
   * @throws GuestDriverError `bad-argument` when {@link room} is too small
   */
  add(elements: readonly Element[], indirect?: IndirectPlace): number {
    const needed = indirect === undefined ? elements.length : 1;
    if (needed === 0 || needed > this.#free.length) {
      throw new GuestDriverError(
        'bad-argument',
        `a buffer of ${needed} descriptors does not fit a queue with ${this.#free.length} free`,
      );
    }
    const chain = this.#free.splice(-needed).reverse();
    const head = chain[0] as number;
    if (indirect === undefined) {
      this.#writeChain(this.#area, 0, chain, elements);
    } else {
      const { area, offset } = indirect;
      this.#writeChain(area, offset, [...elements.keys()], elements);
      const table = { address: area.address(offset), length: elements.length * spec.DESC_BYTES };
      this.#writeDescriptor(this.#area, head * spec.DESC_BYTES, table, spec.DESC_F_INDIRECT, 0);
    }
    this.#held.set(head, chain);
    this.#area.setHalf(
      this.#avail + spec.AVAIL_RING + (this.#next % this.size) * spec.AVAIL_ENTRY_BYTES,
      head,
    );
    this.#next = (this.#next + 1) & 0xffff;
    return head;
  }

  /** Lets the device see every buffer added so far. */
  publish(): void {
    this.#area.setHalf(this.#avail + spec.AVAIL_IDX, this.#next);
  }

  /**
   * The next buffer that the device has given back, whose descriptors are free again; undefined when there is none.
   *
   * @throws GuestDriverError `bad-device` when the device names a buffer that it does not have
   */
  take(): UsedBuffer | undefined {
    if (this.#area.half(this.#used + spec.USED_IDX) === this.#taken) return undefined;
    const at = this.#used + spec.USED_RING + (this.#taken % this.size) * spec.USED_ELEM_BYTES;
    const head = this.#area.word(at + spec.USED_ELEM_ID);
    const chain = this.#held.get(head);
    if (chain === undefined) {
      throw new GuestDriverError(
        'bad-device',
        `the device put ${head} into the used ring, which is the head of no buffer that it has; reset it`,
      );
    }
    this.#taken = (this.#taken + 1) & 0xffff;
    this.#held.delete(head);
    this.#free.push(...chain.toReversed());
    return { head, length: this.#area.word(at + spec.USED_ELEM_LEN) };
  }

  /** Gives its pages back. The device must have been reset. */
  free(): void {
    this.#area.free();
  }

  #writeChain(area: SharedArea, table: number, slots: readonly number[], elements: readonly Element[]): void {
    for (const [i, element] of elements.entries()) {
      const next = slots[i + 1];
      const flags = (element.writable ? spec.DESC_F_WRITE : 0) | (next === undefined ? 0 : spec.DESC_F_NEXT);
      this.#writeDescriptor(area, table + (slots[i] as number) * spec.DESC_BYTES, element, flags, next ?? 0);
    }
  }

  #writeDescriptor(
    area: SharedArea,
    at: number,
    { address, length }: Pick<Element, 'address' | 'length'>,
    flags: number,
    next: number,
  ): void {
    area.setBytes(at, spec.encodeDescriptor({ addr: address, len: length, flags, next }));
  }
}

function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}
