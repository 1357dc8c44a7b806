import { type AddressSpace, dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { type QueueSetup, spec } from '../../../src/models/virtio/index.ts';

/** One part of a buffer as a driver describes it. */
export interface Part {
  readonly addr: bigint;
  readonly len: number;
  readonly write?: boolean;
}

/** What a device gave back. */
export interface UsedElement {
  readonly id: number;
  readonly len: number;
}

/** The driver's side of one split virtqueue, laid out from `base` on: naive, and able to write nonsense. */
export class Ring {
  readonly setup: QueueSetup;
  readonly #memory: AddressSpace;
  #available = 0;
  #seen = 0;
  #nextDescriptor = 0;

  /** A queue of `size` entries; its three parts take a quarter of 64 KiB each. */
  constructor(memory: AddressSpace, base: bigint, size: number) {
    this.#memory = memory;
    this.setup = { size, descriptors: base, driver: base + 0x4000n, device: base + 0x8000n };
  }

  /** Empties the rings, as a driver does before it enables the queue once more. */
  clear(): void {
    this.#available = 0;
    this.#seen = 0;
    this.#nextDescriptor = 0;
    this.setAvailable(0);
    this.#write16(this.setup.device + 2n, 0);
  }

  /** Writes a descriptor into the queue's table, or into one at `table`. */
  describe(index: number, descriptor: Partial<spec.Descriptor>, table = this.setup.descriptors): void {
    const full = { addr: 0n, len: 0, flags: 0, next: 0, ...descriptor };
    dmaWrite(this.#memory, table + BigInt(16 * index), spec.encodeDescriptor(full));
  }

  /** Chains `parts` into the descriptors that follow the last ones, and makes them available. The head. */
  add(parts: readonly Part[]): number {
    const { size } = this.setup;
    const head = this.#nextDescriptor;
    for (const [i, { addr, len, write }] of parts.entries()) {
      const flags = (i + 1 < parts.length ? spec.DESC_F_NEXT : 0) | (write === true ? spec.DESC_F_WRITE : 0);
      this.describe((head + i) % size, { addr, len, flags, next: (head + i + 1) % size });
    }
    this.#nextDescriptor = (head + parts.length) % size;
    this.offer(head);
    return head;
  }

  /** Makes the chain that begins with descriptor `head` available. */
  offer(head: number): void {
    this.#write16(this.setup.driver + 4n + BigInt(2 * (this.#available % this.setup.size)), head);
    this.#available = (this.#available + 1) & 0xffff;
    this.setAvailable(this.#available);
  }

  /** Sets the available ring's index as it is. */
  setAvailable(index: number): void {
    this.#write16(this.setup.driver + 2n, index);
  }

  /** Sets the available ring's flags. */
  setFlags(flags: number): void {
    this.#write16(this.setup.driver, flags);
  }

  /** Sets `used_event`. */
  setUsedEvent(index: number): void {
    this.#write16(this.setup.driver + 4n + BigInt(2 * this.setup.size), index);
  }

  /** `avail_event`. */
  get availEvent(): number {
    return this.#read16(this.setup.device + 4n + BigInt(8 * this.setup.size));
  }

  /** What was given back since the last call. */
  used(): UsedElement[] {
    const index = this.#read16(this.setup.device + 2n);
    const elements: UsedElement[] = [];
    for (; this.#seen !== index; this.#seen = (this.#seen + 1) & 0xffff) {
      const bytes = new Uint8Array(8);
      dmaRead(this.#memory, this.setup.device + 4n + BigInt(8 * (this.#seen % this.setup.size)), bytes);
      const view = new DataView(bytes.buffer);
      elements.push({ id: view.getUint32(0, true), len: view.getUint32(4, true) });
    }
    return elements;
  }

  #write16(address: bigint, value: number): void {
    dmaWrite(this.#memory, address, new Uint8Array([value & 0xff, value >> 8]));
  }

  #read16(address: bigint): number {
    const bytes = new Uint8Array(2);
    dmaRead(this.#memory, address, bytes);
    return bytes[0] | (bytes[1] << 8);
  }
}
