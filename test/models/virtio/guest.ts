import {
  AddressSpace,
  ContainerRegion,
  DenseRamBlock,
  dmaRead,
  dmaWrite,
  MemoryTopology,
  type ObservedEvent,
  PAGES_END,
  type RamBlock,
  RamRegion,
} from '../../../src/memory/index.ts';
import { spec, VirtioIommu, type VirtioIommuOptions } from '../../../src/models/virtio/index.ts';
import { type HostIommu, type Quarantine, VfioContainer } from '../../../src/vfio/index.ts';
import { Ring } from './ring.ts';

/** Guest RAM of these tests: 16 MiB from 0 on, the rings and buffers in the last one. */
export const RAM_PAGES = 0x1000;
const REQUEST_RING = 0xf0_0000n;
const EVENT_RING = 0xf1_0000n;
const BUFFERS = 0xf2_0000n;
const EVENT_BUFFERS = 0xf8_0000n;
const RING_SIZE = 64;

/** Bytes of a slot for one request. */
const SLOT = 0x800n;

const NEEDED = spec.ACKNOWLEDGE | spec.DRIVER;

/** What a request came to: the status, and the length that the device wrote; undefined while it is not answered. */
export interface Reply {
  readonly status: number;
  readonly len: number;
  /** All that was writable. */
  readonly bytes: Uint8Array;
}

/** Guest memory, a virtio IOMMU, and a driver that is simple and obedient unless a test makes it not so. */
export class Guest {
  readonly memory: AddressSpace;
  readonly ram: RamRegion;
  readonly system: ContainerRegion = new ContainerRegion('system', PAGES_END);
  readonly iommu: VirtioIommu;
  readonly requests: Ring;
  readonly events: Ring;
  readonly observed: ObservedEvent[] = [];
  /** Queues for which used buffer notifications came, in order. */
  readonly notified: number[] = [];
  configChanges = 0;
  readonly #slots: Map<number, bigint> = new Map();
  readonly #pending: Map<number, { readonly number: number; readonly writable: number }> = new Map();
  readonly #replies: Map<number, Reply> = new Map();
  #slot = 0;
  #eventSlot = 0;

  /** `ram` is what guest-physical memory has from address 0 on, 16 MiB at the least. */
  constructor(
    options: Omit<VirtioIommuOptions, 'memory'> = {},
    ram: RamBlock = new DenseRamBlock(RAM_PAGES),
  ) {
    this.ram = new RamRegion('RAM', ram);
    this.system.add(this.ram, 0);
    this.memory = new AddressSpace('system', this.system, new MemoryTopology());
    const observer = { observe: (event: ObservedEvent) => void this.observed.push(event) };
    this.iommu = new VirtioIommu({ observer, ...options, memory: this.memory });
    this.iommu.device.notifications = {
      usedBuffers: (index) => void this.notified.push(index),
      configChanged: () => this.configChanges++,
    };
    this.requests = new Ring(this.memory, REQUEST_RING, RING_SIZE);
    this.events = new Ring(this.memory, EVENT_RING, RING_SIZE);
  }

  /** A guest whose driver has started, with all features that are offered but EVENT_IDX, or with `features`. */
  static started(options: Omit<VirtioIommuOptions, 'memory'> = {}, features?: bigint): Guest {
    const guest = new Guest(options);
    guest.start(features);
    return guest;
  }

  /** Negotiates, sets both queues up, and is ready. */
  start(features?: bigint): void {
    const { device } = this.iommu;
    device.writeStatus(NEEDED);
    device.chooseFeatures(features ?? device.features & ~spec.VIRTIO_F_EVENT_IDX);
    device.writeStatus(NEEDED | spec.FEATURES_OK);
    device.enableQueue(spec.REQUESTQ, this.requests.setup);
    device.enableQueue(spec.EVENTQ, this.events.setup);
    device.writeStatus(NEEDED | spec.FEATURES_OK | spec.DRIVER_OK);
  }

  /** Starts anew after a reset, with rings that are empty. */
  restart(features?: bigint): void {
    this.requests.clear();
    this.events.clear();
    this.start(features);
  }

  /** Makes a request available, with room for `writable` bytes of answer, and does not notify. Its number. */
  queue(readable: Uint8Array, writable: number): number {
    const slot = this.#slot++;
    const address = BUFFERS + SLOT * BigInt(slot % 128);
    dmaWrite(this.memory, address, readable);
    dmaWrite(this.memory, address + 0x100n, new Uint8Array(writable).fill(0xee));
    const head = this.requests.add([
      { addr: address, len: readable.length },
      { addr: address + 0x100n, len: writable, write: true },
    ]);
    this.#slots.set(head, address);
    this.#pending.set(head, { number: slot, writable });
    return slot;
  }

  /** The reply to request `number`, if it was answered. */
  reply(number: number): Reply | undefined {
    for (const { id, len } of this.requests.used()) {
      const pending = this.#pending.get(id);
      const address = this.#slots.get(id);
      if (pending === undefined || address === undefined)
        throw new Error(`descriptor ${id} was never offered`);
      const bytes = new Uint8Array(pending.writable);
      dmaRead(this.memory, address + 0x100n, bytes);
      const status = len === 0 ? -1 : bytes[len - spec.TAIL_BYTES];
      this.#replies.set(pending.number, { status, len, bytes });
    }
    return this.#replies.get(number);
  }

  /** Queues a request and notifies. Its number. */
  post(request: spec.Request, writable: number = writableBytes(request)): number {
    const number = this.queue(spec.encodeRequest(request), writable);
    this.iommu.device.notify(spec.REQUESTQ);
    return number;
  }

  /** The status of a request that hosts answer at once; -1 when it was given back unused, undefined when not at all. */
  do(request: spec.Request): number | undefined {
    return this.reply(this.post(request))?.status;
  }

  /** The status of a request, once hosts have answered. */
  async done(request: spec.Request): Promise<number | undefined> {
    const number = this.post(request);
    await this.iommu.settled();
    return this.reply(number)?.status;
  }

  /** Offers `count` buffers of `bytes` for fault reports. */
  offerEvents(count: number, bytes: number = spec.FAULT_BYTES): void {
    for (let i = 0; i < count; i++) {
      this.events.add([
        { addr: EVENT_BUFFERS + 0x20n * BigInt(this.#eventSlot++ % 256), len: bytes, write: true },
      ]);
    }
    this.iommu.device.notify(spec.EVENTQ);
  }

  /** The faults that were reported, if buffers are used in their order. */
  faults(): (spec.FaultReport | undefined)[] {
    return this.events.used().map(({ id, len }) => {
      const bytes = new Uint8Array(len);
      dmaRead(this.memory, EVENT_BUFFERS + 0x20n * BigInt(id), bytes);
      return spec.decodeFaultReport(bytes);
    });
  }

  /** Plugs a device that reaches memory as `endpoint`. */
  async plug(endpoint: number, host: HostIommu): Promise<VfioContainer> {
    const container = new VfioContainer(this.iommu.addressSpace(endpoint), host, {
      name: `device ${endpoint}`,
      onQuarantine: ({ mapping }: Quarantine) =>
        this.iommu.hostRefused(endpoint, mapping ?? { iova: 0, pages: 1, target: 0, access: 0 }),
    });
    await container.attach();
    return container;
  }
}

/** Bytes that the device needs to answer: the tail, and 512 bytes of properties for PROBE. */
export function writableBytes({ type }: spec.Request): number {
  return spec.TAIL_BYTES + (type === spec.T_PROBE ? 512 : 0);
}

export function attach(domain: number, endpoint: number, flags = 0, reserved = 0): spec.AttachRequest {
  return { type: spec.T_ATTACH, domain, endpoint, flags, reserved };
}

export function detach(domain: number, endpoint: number): spec.DetachRequest {
  return { type: spec.T_DETACH, domain, endpoint };
}

export function probe(endpoint: number): spec.ProbeRequest {
  return { type: spec.T_PROBE, endpoint };
}

/** Maps `pages` pages from page `iova` to page `target` on. */
export function map(domain: number, iova: number, pages: number, target: number, flags = 3): spec.MapRequest {
  return {
    type: spec.T_MAP,
    domain,
    virt_start: BigInt(iova) << 12n,
    virt_end: (BigInt(iova + pages) << 12n) - 1n,
    phys_start: BigInt(target) << 12n,
    flags,
  };
}

export function unmap(domain: number, iova: number, pages: number, reserved = 0): spec.UnmapRequest {
  return {
    type: spec.T_UNMAP,
    domain,
    virt_start: BigInt(iova) << 12n,
    virt_end: (BigInt(iova + pages) << 12n) - 1n,
    reserved,
  };
}
