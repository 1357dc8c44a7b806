/**
 * A guest that programs a remapping unit through its registers and queue. Register offsets and bit positions are those
 * of the specification's figures, written out once more.
 *
 * @module
 */
import { PageCursor, type ObservedEvent } from '../../../src/memory/index.ts';
import { VtdIommu, type VtdIommuOptions } from '../../../src/models/vtd/index.ts';
import { BASE_CAPABILITY, type Capability } from '../../../src/models/vtd/spec/index.ts';
import { type GuestMemory, guestMemory } from '../../support/guest-memory.ts';

export const GCMD = 0x18;
export const GSTS = 0x1c;
export const RTADDR = 0x20;
export const CCMD = 0x28;
export const FSTS = 0x34;
export const FECTL = 0x38;
export const FEDATA = 0x3c;
export const FEADDR = 0x40;
export const FEUADDR = 0x44;
export const PMEN = 0x64;
export const IQH = 0x80;
export const IQT = 0x88;
export const IQA = 0x90;
export const ICS = 0x9c;
export const IECTL = 0xa0;
export const IEDATA = 0xa4;
export const IEADDR = 0xa8;
export const IQERCD = 0xb0;
export const IVA = 0xf0;
export const IOTLB = 0xf8;
export const FRCD = 0x220;

export const TE = 0x8000_0000;
export const SRTP = 0x4000_0000;
export const QIE = 0x0400_0000;

/** FSTS bits. */
export const PFO = 1;
export const PPF = 2;
export const IQE = 0x10;

/** Pages that the guest uses. */
export const ROOT = 0x10;
export const QUEUE = 0x40;
export const STATUS = 0x60;
const FIRST_TABLE = 0x100;
export const RAM_PAGES = 0x2000;

/** Everything that scalable mode takes here. */
export const SCALABLE: Partial<Capability> = {
  SMTS: true,
  SSTS: true,
  FSTS: true,
  NEST: true,
  PASID: true,
  PSS: 19,
  DT: true,
};

export interface UnitGuestOptions extends Partial<Omit<VtdIommuOptions, 'memory' | 'capability'>> {
  readonly capability?: Partial<Capability>;
}

/** A 128-bit descriptor. */
export type Descriptor = readonly [low: bigint, high: bigint];

export class UnitGuest {
  readonly guest: GuestMemory;
  readonly iommu: VtdIommu;
  readonly events: ObservedEvent[] = [];
  /** The unit's own interrupts, and those of devices. */
  readonly messages: { readonly address: bigint; readonly data: number }[] = [];
  #nextTable = FIRST_TABLE;
  #tail = 0;
  #stride = 16;
  #queueBytes = 4096;

  constructor(options: UnitGuestOptions = {}) {
    const { capability, ...rest } = options;
    this.guest = guestMemory([0, RAM_PAGES]);
    this.iommu = new VtdIommu({
      memory: this.guest.space,
      capability: { ...BASE_CAPABILITY, ...capability },
      observer: { observe: (event) => this.events.push(event) },
      sendInterrupt: (address, data) => this.messages.push({ address, data }),
      ...rest,
    });
  }

  /** The 64-bit word `index` of a page. */
  poke(page: number, index: number, value: bigint): void {
    const cursor = this.#at(page, true);
    cursor.words[cursor.base + index * 2] = Number(BigInt.asUintN(32, value));
    cursor.words[cursor.base + index * 2 + 1] = Number(BigInt.asUintN(64, value) >> 32n);
  }

  peek(page: number, index: number): bigint {
    const cursor = this.#at(page, false);
    const [low, high] = cursor.words.subarray(cursor.base + index * 2, cursor.base + index * 2 + 2);
    return (BigInt(high ?? 0) << 32n) | BigInt(low ?? 0);
  }

  /** The 32-bit status word `index` that waits write to. */
  status(index: number): number {
    const cursor = this.#at(STATUS, false);
    return cursor.words[cursor.base + index] ?? 0;
  }

  read(offset: number): number {
    return Number(this.iommu.readRegister(offset, 4));
  }

  read64(offset: number): bigint {
    return this.iommu.readRegister(offset, 8);
  }

  write(offset: number, value: number): void {
    this.iommu.writeRegister(offset, BigInt(value >>> 0), 4);
  }

  write64(offset: number, value: bigint): void {
    this.iommu.writeRegister(offset, value, 8);
  }

  /** Legacy mode: points the context entry of `requester` at a 4-level second stage. */
  context(
    requester: number,
    entry: { root?: number; domain?: number; fpd?: boolean; type?: number; present?: boolean },
  ): void {
    const bus = requester >> 8;
    const devfn = requester & 0xff;
    const table = 0x20 + bus;
    this.poke(ROOT, bus * 2, (BigInt(table) << 12n) | 1n);
    const { root = 0, domain = 0, fpd = false, type = 0, present = true } = entry;
    const low = (BigInt(root) << 12n) | BigInt((present ? 1 : 0) | (fpd ? 2 : 0) | (type << 2));
    this.poke(table, devfn * 2, low);
    this.poke(table, devfn * 2 + 1, (BigInt(domain) << 8n) | 2n);
  }

  /** An empty table. */
  table(): number {
    return this.#nextTable++;
  }

  /** Sets a 4 KiB leaf in the 4-level second stage at `root`; access 0 takes it away. */
  leaf(root: number, iova: number, target: number, access = 3): void {
    let table = root;
    for (const shift of [27, 18, 9]) {
      const index = Math.floor(iova / 2 ** shift) % 512;
      let next = Number(this.peek(table, index) >> 12n);
      if (next === 0) {
        next = this.table();
        this.poke(table, index, (BigInt(next) << 12n) | 3n);
      }
      table = next;
    }
    this.poke(table, iova % 512, access === 0 ? 0n : (BigInt(target) << 12n) | BigInt(access));
  }

  /** A second stage with the given leaves, iova page to target page. */
  stage(...leaves: readonly (readonly [iova: number, target: number])[]): number {
    const root = this.table();
    for (const [iova, target] of leaves) this.leaf(root, iova, target);
    return root;
  }

  /** Sets the root table and turns translation on; `mode` is RTADDR.TTM. */
  translate(mode = 0): void {
    this.write64(RTADDR, (BigInt(ROOT) << 12n) | BigInt(mode << 10));
    this.command(SRTP);
    this.command(TE);
  }

  /** Writes GCMD as software does: the states as they are, and one change. */
  command(set: number, clear = 0): void {
    this.write(GCMD, ((this.read(GSTS) & 0x96ff_ffff & ~clear) | set) >>> 0);
  }

  /** Enables a queue of 2^`qs` pages. */
  queue(options: { wide?: boolean; qs?: number; page?: number } = {}): void {
    const { wide = false, qs = 0, page = QUEUE } = options;
    this.#stride = wide ? 32 : 16;
    this.#queueBytes = 4096 << qs;
    this.#tail = 0;
    this.write64(IQT, 0n);
    this.write64(IQA, (BigInt(page) << 12n) | BigInt(qs) | (wide ? 0x800n : 0n));
    this.command(QIE);
  }

  /** Puts descriptors into the queue without telling the unit. */
  put(...descriptors: readonly Descriptor[]): void {
    for (const [low, high] of descriptors) {
      const page = QUEUE + Math.floor(this.#tail / 4096);
      const index = (this.#tail % 4096) / 8;
      this.poke(page, index, low);
      this.poke(page, index + 1, high);
      if (this.#stride === 32) {
        this.poke(page, index + 2, 0n);
        this.poke(page, index + 3, 0n);
      }
      this.#tail = (this.#tail + this.#stride) % this.#queueBytes;
    }
  }

  /** Puts descriptors into the queue and moves the tail behind them. */
  submit(...descriptors: readonly Descriptor[]): void {
    this.put(...descriptors);
    this.write64(IQT, BigInt(this.#tail));
  }

  get tail(): number {
    return this.#tail;
  }

  #at(page: number, forWrite: boolean): PageCursor {
    const cursor = new PageCursor();
    if (!this.guest.space.locate(page, cursor, forWrite)) throw new Error(`no RAM at page ${page}`);
    return cursor;
  }
}

/** A wait that writes `data` to status word `index`. */
export function wait(data: number, index = 0, flags = 0): Descriptor {
  return [5n | 0x20n | BigInt(flags) | (BigInt(data) << 32n), (BigInt(STATUS) << 12n) | BigInt(index * 4)];
}

/** A wait that raises the invalidation event only. */
export const INTERRUPTING_WAIT: Descriptor = [5n | 0x10n, 0n];

export function contextGlobal(): Descriptor {
  return [1n | (1n << 4n), 0n];
}

export function contextDomain(domain: number): Descriptor {
  return [1n | (2n << 4n) | (BigInt(domain) << 16n), 0n];
}

export function contextDevice(domain: number, source: number, fm = 0): Descriptor {
  return [1n | (3n << 4n) | (BigInt(domain) << 16n) | (BigInt(source) << 32n) | (BigInt(fm) << 48n), 0n];
}

export function iotlbGlobal(): Descriptor {
  return [2n | (1n << 4n), 0n];
}

export function iotlbDomain(domain: number): Descriptor {
  return [2n | (2n << 4n) | (BigInt(domain) << 16n), 0n];
}

export function iotlbPage(domain: number, page: number, am = 0): Descriptor {
  return [2n | (3n << 4n) | (BigInt(domain) << 16n), (BigInt(page) << 12n) | BigInt(am)];
}

export function pasidCache(g: number, domain = 0, pasid = 0): Descriptor {
  return [7n | (BigInt(g) << 4n) | (BigInt(domain) << 16n) | (BigInt(pasid) << 32n), 0n];
}

export function pasidIotlb(g: number, domain: number, pasid: number, page = 0, am = 0): Descriptor {
  return [
    6n | (BigInt(g) << 4n) | (BigInt(domain) << 16n) | (BigInt(pasid) << 32n),
    (BigInt(page) << 12n) | BigInt(am),
  ];
}

export function deviceTlb(source: number, page: number, s = false): Descriptor {
  return [3n | (BigInt(source) << 32n), (BigInt(page) << 12n) | (s ? 1n : 0n)];
}

export function pasidDeviceTlb(
  source: number,
  pasid: number,
  page: number,
  options: { g?: boolean; s?: boolean } = {},
): Descriptor {
  const { g = false, s = false } = options;
  return [
    8n | (BigInt(source) << 16n) | (BigInt(pasid) << 32n),
    (BigInt(page) << 12n) | (g ? 1n : 0n) | (s ? 0x800n : 0n),
  ];
}
