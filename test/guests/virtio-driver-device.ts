/** A device of the simplest kind behind a transport in memory: it reads what a driver wrote, and answers as a test wants. */
import {
  PageAllocator,
  type QueueAreas,
  VirtioIommuGuestDriver,
  type VirtioTransport,
} from '../../src/guests/index.ts';
import { type AddressSpace, dmaRead, dmaWrite } from '../../src/memory/index.ts';
import { spec } from '../../src/models/virtio/index.ts';
import { guestMemory } from '../support/guest-memory.ts';

/** A buffer as the device finds it in a queue. */
export interface FoundBuffer {
  readonly head: number;
  /** Descriptors of the chain, those of an indirect table in its place. */
  readonly descriptors: readonly spec.Descriptor[];
  readonly indirect: boolean;
  /** What the readable descriptors hold. */
  readonly readable: Uint8Array;
}

interface Queue extends QueueAreas {
  seen: number;
  used: number;
}

/** All features that the driver knows. */
export const FEATURES: bigint =
  spec.VIRTIO_F_VERSION_1 |
  spec.VIRTIO_F_INDIRECT_DESC |
  spec.VIRTIO_IOMMU_F_INPUT_RANGE |
  spec.VIRTIO_IOMMU_F_DOMAIN_RANGE |
  spec.VIRTIO_IOMMU_F_MAP_UNMAP |
  spec.VIRTIO_IOMMU_F_PROBE |
  spec.VIRTIO_IOMMU_F_BYPASS_CONFIG;

export const CONFIG: spec.VirtioIommuConfig = {
  page_size_mask: 0xffff_ffff_ffff_f000n,
  input_range: { start: 0x1000n, end: 0xffff_ffffn },
  domain_range: { start: 1, end: 99 },
  probe_size: 64,
  bypass: 1,
};

/** Tests replace its members to have it do otherwise. */
export class PlainDevice implements VirtioTransport {
  readonly memory: AddressSpace;
  /** Status values and notified queues, in their order. */
  readonly heard: string[] = [];
  accepted = 0n;
  status = 0;
  offered = FEATURES;
  queueSize = 64;
  readonly config: Uint8Array = spec.encodeConfig(CONFIG);
  /** Buffers of the request queue that have not been answered. */
  readonly requests: FoundBuffer[] = [];
  readonly queues: Queue[] = [];
  /** What the device does when it has time. It answers everything with a tail that says S_OK. */
  work: () => void = () => {
    for (const buffer of this.requests.splice(0)) this.answer(buffer, Uint8Array.of(spec.S_OK, 0, 0, 0));
  };

  constructor(memory: AddressSpace) {
    this.memory = memory;
  }

  features(): bigint {
    return this.offered;
  }

  acceptFeatures(features: bigint): void {
    this.accepted = features;
  }

  readStatus(): number {
    return this.status;
  }

  writeStatus(status: number): void {
    this.heard.push(`status ${status}`);
    this.status = status;
    if (status === 0) this.queues.splice(0);
  }

  maxQueueSize(): number {
    return this.queueSize;
  }

  setUpQueue(index: number, areas: QueueAreas): void {
    this.queues[index] = { ...areas, seen: 0, used: 0 };
  }

  notify(index: number): void {
    this.heard.push(`notify ${index}`);
    if (index === spec.REQUESTQ) this.requests.push(...this.fetch(index));
  }

  readConfig(offset: number, bytes: 1 | 2 | 4 | 8): bigint {
    return littleEndian(this.config.subarray(offset, offset + bytes));
  }

  writeConfig(offset: number, value: bigint): void {
    this.config[offset] = Number(value);
  }

  settled(): void {
    this.work();
  }

  /** The buffers that came to a queue since the last call. */
  fetch(index: number): FoundBuffer[] {
    const queue = this.queue(index);
    const idx = this.half(queue.driver + BigInt(spec.AVAIL_IDX));
    const found: FoundBuffer[] = [];
    for (; queue.seen !== idx; queue.seen = (queue.seen + 1) & 0xffff) {
      const at = spec.AVAIL_RING + (queue.seen % queue.size) * spec.AVAIL_ENTRY_BYTES;
      found.push(this.#buffer(queue, this.half(queue.driver + BigInt(at))));
    }
    return found;
  }

  /** Gives a buffer back: `written` at its first writable descriptors, and `length` as used length. */
  answer(
    buffer: FoundBuffer,
    written: Uint8Array,
    length: number = written.length,
    index: number = spec.REQUESTQ,
  ): void {
    let done = 0;
    for (const { addr, len, flags } of buffer.descriptors) {
      if ((flags & spec.DESC_F_WRITE) === 0) continue;
      dmaWrite(this.memory, addr, written.subarray(done, done + len));
      done += len;
    }
    this.giveBack(buffer.head, length, index);
  }

  /** Puts an entry into the used ring. */
  giveBack(head: number, length: number, index: number = spec.REQUESTQ): void {
    const queue = this.queue(index);
    const entry = new DataView(new ArrayBuffer(spec.USED_ELEM_BYTES));
    entry.setUint32(spec.USED_ELEM_ID, head, true);
    entry.setUint32(spec.USED_ELEM_LEN, length, true);
    const at = spec.USED_RING + (queue.used % queue.size) * spec.USED_ELEM_BYTES;
    dmaWrite(this.memory, queue.device + BigInt(at), new Uint8Array(entry.buffer));
    queue.used = (queue.used + 1) & 0xffff;
    const idx = Uint8Array.of(queue.used & 0xff, queue.used >>> 8);
    dmaWrite(this.memory, queue.device + BigInt(spec.USED_IDX), idx);
  }

  queue(index: number): Queue {
    const queue = this.queues[index];
    if (queue === undefined) throw new Error(`queue ${index} is not set up`);
    return queue;
  }

  /** The 16 bits at `address` of guest memory. */
  half(address: bigint): number {
    return Number(littleEndian(this.read(address, 2)));
  }

  read(address: bigint, bytes: number): Uint8Array {
    const data = new Uint8Array(bytes);
    dmaRead(this.memory, address, data);
    return data;
  }

  #buffer(queue: Queue, head: number): FoundBuffer {
    let descriptors = this.#chain(queue.desc, head);
    const [only] = descriptors;
    const indirect = only !== undefined && (only.flags & spec.DESC_F_INDIRECT) !== 0;
    if (indirect) descriptors = this.#chain(only.addr, 0);
    const readable = descriptors
      .filter(({ flags }) => (flags & spec.DESC_F_WRITE) === 0)
      .flatMap(({ addr, len }) => [...this.read(addr, len)]);
    return { head, descriptors, indirect, readable: Uint8Array.from(readable) };
  }

  #chain(table: bigint, head: number): spec.Descriptor[] {
    const chain: spec.Descriptor[] = [];
    for (let next: number | undefined = head; next !== undefined; ) {
      const at = table + BigInt(next * spec.DESC_BYTES);
      const descriptor: spec.Descriptor = spec.decodeDescriptor(this.read(at, spec.DESC_BYTES));
      chain.push(descriptor);
      next = (descriptor.flags & spec.DESC_F_NEXT) === 0 ? undefined : descriptor.next;
    }
    return chain;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  return [...bytes].reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** A plain device and a driver that has not booted, with 256 pages for the driver. */
export function plainWorld() {
  const { space } = guestMemory([0, 256]);
  const device = new PlainDevice(space);
  const allocator = new PageAllocator([{ start: 0, end: 256 }]);
  const driver = new VirtioIommuGuestDriver({ memory: space, transport: device, allocator });
  return { device, driver, allocator };
}
