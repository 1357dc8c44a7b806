/** The request queue of a virtio-iommu driver: what is in flight, and what came of it. @module */
import { PAGE_SIZE } from '../../memory/index.ts';
import { spec } from '../../models/virtio/index.ts';
import { GuestDriverError } from '../driver/error.ts';
import type { DriverPages } from '../driver/pages.ts';
import type { RequestParts } from './requests.ts';
import { SharedArea } from './shared-area.ts';
import { type Element, SplitQueue } from './split-queue.ts';
import type { QueueAreas, VirtioTransport } from './transport.ts';

/** What came of a request. */
export interface RequestResult {
  /**
   * S_* (virtio 1.3, 5.13.6): of the tail, which is the last that a device writes. undefined when it gave the buffer
   * back without a tail, which a driver takes as a failure.
   */
  readonly status: number | undefined;
  /** Bytes that the device says it wrote. */
  readonly usedLength: number;
  /** The part that the device writes: what it did not write holds 0xff. */
  readonly written: Uint8Array;
}

/** What the driver puts into the part that the device is to write. */
export const UNWRITTEN = 0xff;

/** Rounds in which a device that has had its time may still be silent, before it counts as stuck. */
const PATIENCE = 1000;

interface Waiting {
  readonly parts: RequestParts;
  readonly indirect: boolean;
  readonly resolve: (result: RequestResult) => void;
  readonly reject: (error: unknown) => void;
}

interface InFlight extends Waiting {
  readonly area: SharedArea;
  readonly writableAt: number;
  readonly writable: number;
}

/** Requests go out in the order of the calls, and are answered in whatever order the device likes. */
export class RequestQueue {
  readonly #pages: DriverPages;
  readonly #transport: VirtioTransport;
  readonly #queue: SplitQueue;
  /** By the head of their chain. */
  readonly #inFlight: Map<number, InFlight> = new Map();
  /** Those that found the queue full, in their order. */
  #backlog: Waiting[] = [];
  #looking = false;

  constructor(pages: DriverPages, transport: VirtioTransport, size: number) {
    this.#pages = pages;
    this.#transport = transport;
    this.#queue = new SplitQueue(pages, size);
  }

  get areas(): QueueAreas {
    return this.#queue.areas;
  }

  /**
   * Puts the requests into the queue and notifies the device once for all of them that fit; the others follow when there
   * is room.
   *
   * @throws GuestDriverError `bad-argument` for a request that can never fit: then none is submitted
   */
  submit(requests: readonly RequestParts[], indirect: boolean): Promise<RequestResult>[] {
    for (const request of requests) {
      const needed = descriptorsOf(request, indirect);
      if (needed >= 1 && needed <= this.#queue.size) continue;
      throw new GuestDriverError(
        'bad-argument',
        `a request of ${needed} descriptors does not go into a queue of ${this.#queue.size}; give it fewer parts, at least one`,
      );
    }
    const results = requests.map(
      (parts) =>
        new Promise<RequestResult>((resolve, reject) => {
          this.#backlog.push({ parts, indirect, resolve, reject });
        }),
    );
    this.#admit();
    return results;
  }

  /** Rejects what has no answer and gives all pages back: for a device that has been reset. */
  end(): void {
    this.#fail(
      new GuestDriverError('state', 'the device was reset before it answered; submit the request again'),
    );
    for (const { area } of this.#inFlight.values()) area.free();
    this.#inFlight.clear();
    this.#queue.free();
  }

  /** Moves as much of the backlog as fits into the queue and tells the device of it. */
  #admit(): void {
    let added = 0;
    for (const request of this.#backlog) {
      if (this.#queue.room < descriptorsOf(request.parts, request.indirect)) break;
      this.#add(request);
      added++;
    }
    if (added === 0) return;
    this.#backlog = this.#backlog.slice(added);
    this.#queue.publish();
    if (this.#queue.wantsNotification) {
      const told = this.#transport.notify(spec.REQUESTQ);
      if (told instanceof Promise) told.catch((error: unknown) => this.#fail(error));
    }
    if (!this.#looking) void this.#look();
  }

  #add(request: Waiting): void {
    const { readable, writable } = request.parts;
    const writableAt = aligned(total(readable.map(({ length }) => length)));
    const tableAt = aligned(writableAt + total(writable));
    const bytes = tableAt + (request.indirect ? (readable.length + writable.length) * spec.DESC_BYTES : 0);
    const pages = Math.max(1, Math.ceil(bytes / PAGE_SIZE));
    const area = new SharedArea(this.#pages, pages);
    const elements: Element[] = [];
    let at = 0;
    for (const part of readable) {
      area.setBytes(at, part);
      elements.push({ address: area.address(at), length: part.length, writable: false });
      at += part.length;
    }
    at = writableAt;
    for (const length of writable) {
      area.fill(at, length, UNWRITTEN);
      elements.push({ address: area.address(at), length, writable: true });
      at += length;
    }
    const head = this.#queue.add(elements, request.indirect ? { area, offset: tableAt } : undefined);
    this.#inFlight.set(head, { ...request, area, writableAt, writable: at - writableAt });
  }

  /** Looks for answers until there is nothing in flight. */
  async #look(): Promise<void> {
    this.#looking = true;
    try {
      for (let idle = 0; this.#inFlight.size > 0; idle++) {
        // eslint-disable-next-line no-await-in-loop -- a driver that polls
        if (idle === PATIENCE) throw await this.#stuck();
        // eslint-disable-next-line no-await-in-loop -- likewise
        await this.#transport.settled();
        if (this.#reap()) {
          idle = 0;
          this.#admit();
        }
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#looking = false;
  }

  #reap(): boolean {
    let any = false;
    while (this.#inFlight.size > 0) {
      const used = this.#queue.take();
      if (used === undefined) break;
      const { area, writableAt, writable, resolve } = this.#inFlight.get(used.head) as InFlight;
      this.#inFlight.delete(used.head);
      const written = area.bytes(writableAt, writable);
      area.free();
      const tail = used.length - spec.TAIL_BYTES;
      resolve({ status: tail < 0 ? undefined : written[tail], usedLength: used.length, written });
      any = true;
    }
    return any;
  }

  /** What is in flight stays the device's, but its promises are over. */
  #fail(error: unknown): void {
    for (const { reject } of this.#inFlight.values()) reject(error);
    for (const { reject } of this.#backlog) reject(error);
    this.#backlog = [];
  }

  async #stuck(): Promise<GuestDriverError> {
    const status = await this.#transport.readStatus();
    const waiting = `${this.#inFlight.size} requests have no answer`;
    return (status & spec.DEVICE_NEEDS_RESET) === 0
      ? new GuestDriverError('stuck', `${waiting}, and the device does nothing; reset it and boot again`)
      : new GuestDriverError(
          'needs-reset',
          `${waiting}: the device set DEVICE_NEEDS_RESET; reset it and boot again`,
        );
  }
}

function descriptorsOf({ readable, writable }: RequestParts, indirect: boolean): number {
  const elements = readable.length + writable.length;
  return indirect && elements > 0 ? 1 : elements;
}

function total(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}

function aligned(offset: number): number {
  return Math.ceil(offset / 16) * 16;
}
