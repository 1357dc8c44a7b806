/** The event queue of a virtio-iommu driver: buffers that wait for fault reports (virtio 1.3, 5.13.6.9). @module */
import { PAGE_SIZE } from '../../memory/index.ts';
import { spec } from '../../models/virtio/index.ts';
import type { DriverPages } from '../driver/pages.ts';
import { SharedArea } from './shared-area.ts';
import { SplitQueue } from './split-queue.ts';
import type { QueueAreas, Soon, VirtioTransport } from './transport.ts';

/** How a driver fills its event queue. */
export interface EventBuffers {
  /** How many; 0 for a driver that wants no reports. */
  readonly count: number;
  /** Bytes of each. */
  readonly bytes: number;
}

/** Buffers posted in their order and posted anew when they have been read. */
export class EventQueue {
  readonly #transport: VirtioTransport;
  readonly #queue: SplitQueue;
  readonly #area: SharedArea;
  readonly #bytes: number;
  /** Place of each buffer that the device has, by its head. */
  readonly #posted: Map<number, number> = new Map();

  constructor(pages: DriverPages, transport: VirtioTransport, size: number, buffers: EventBuffers) {
    this.#transport = transport;
    this.#queue = new SplitQueue(pages, size);
    this.#bytes = buffers.bytes;
    const count = Math.max(1, Math.ceil((buffers.count * buffers.bytes) / PAGE_SIZE));
    this.#area = new SharedArea(pages, count);
    for (let i = 0; i < buffers.count; i++) this.#post(i * buffers.bytes);
    this.#queue.publish();
  }

  get areas(): QueueAreas {
    return this.#queue.areas;
  }

  /** Reads the reports that came, in their order, posts their buffers anew, and tells the device of them. */
  take(): { readonly faults: readonly spec.FaultReport[]; readonly told: Soon<void> } {
    const faults: spec.FaultReport[] = [];
    let any = false;
    for (let used = this.#queue.take(); used !== undefined; used = this.#queue.take()) {
      const at = this.#posted.get(used.head) as number;
      this.#posted.delete(used.head);
      const fault = spec.decodeFaultReport(this.#area.bytes(at, Math.min(used.length, this.#bytes)));
      if (fault !== undefined) faults.push(fault);
      this.#post(at);
      any = true;
    }
    if (!any) return { faults, told: undefined };
    this.#queue.publish();
    return { faults, told: this.notify() };
  }

  /** Tells the device that there are buffers, unless it does not want to know. */
  notify(): Soon<void> {
    if (this.#queue.wantsNotification) return this.#transport.notify(spec.EVENTQ);
  }

  /** Gives all pages back: for a device that has been reset. */
  end(): void {
    this.#queue.free();
    this.#area.free();
  }

  #post(at: number): void {
    const element = { address: this.#area.address(at), length: this.#bytes, writable: true };
    this.#posted.set(this.#queue.add([element]), at);
  }
}
