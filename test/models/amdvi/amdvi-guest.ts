/**
 * A guest that programs an AMD-Vi IOMMU through its registers, device table, page tables and command buffer. Offsets and
 * bit positions are those of the specification's figures, written out once more, so that a wrong layout in the sources is
 * not wrong in the tests too.
 *
 * @module
 */
import { type ObservedEvent, PageCursor } from '../../../src/memory/index.ts';
import {
  AmdviIommu,
  type AmdviIommuOptions,
  type Capability,
  spec,
} from '../../../src/models/amdvi/index.ts';
import { type GuestMemory, guestMemory } from '../../support/guest-memory.ts';

export const DEVICE_TABLE_BASE = 0x0000;
export const COMMAND_BASE = 0x0008;
export const EVENT_BASE = 0x0010;
export const CONTROL = 0x0018;
export const EXCLUSION_BASE = 0x0020;
export const EXCLUSION_LIMIT = 0x0028;
export const COMMAND_HEAD = 0x2000;
export const COMMAND_TAIL = 0x2008;
export const EVENT_HEAD = 0x2010;
export const EVENT_TAIL = 0x2018;
export const STATUS = 0x2020;

/** Control. */
export const IOMMU_EN = 1;
export const EVENT_LOG_EN = 4;
export const EVENT_INT_EN = 8;
export const COM_WAIT_INT_EN = 0x10;
export const CMD_BUF_EN = 0x1000;
export const RUNNING: number = IOMMU_EN | EVENT_LOG_EN | CMD_BUF_EN;

/** Status. */
export const EVENT_OVERFLOW = 1;
export const EVENT_LOG_INT = 2;
export const COM_WAIT_INT = 4;
export const EVENT_LOG_RUN = 8;
export const CMD_BUF_RUN = 0x10;

/** Pages that the guest uses: a device table of 2,048 entries, rings of 256 entries, and where waits store. */
export const DEVICE_TABLE = 0x10;
export const DEVICE_TABLE_PAGES = 16;
export const COMMANDS = 0x40;
export const EVENTS = 0x41;
export const STORES = 0x42;
const FIRST_TABLE = 0x100;
export const RAM_PAGES = 0x4000;
const RING_ENTRIES = 256;

/** Bus 2, device 0, function 0. */
export const DEVICE = 0x200;
export const OTHER = 0x318;

export interface AmdviGuestOptions extends Partial<Omit<AmdviIommuOptions, 'memory' | 'capability'>> {
  readonly capability?: Partial<Capability>;
}

/** What a device table entry says; a valid one with tables of 3 levels and every permission unless said otherwise. */
export interface DeviceTableFields {
  readonly v?: boolean;
  readonly tv?: boolean;
  readonly mode?: number;
  readonly root?: number;
  readonly access?: number;
  readonly domain?: number;
  readonly se?: boolean;
  readonly sa?: boolean;
  readonly ex?: boolean;
  readonly iv?: boolean;
  readonly intCtl?: number;
}

/** A 128-bit command. */
export type Command = readonly [low: bigint, high: bigint];

const flag = (on: boolean | undefined, bit: bigint): bigint => (on === true ? 1n << bit : 0n);

export class AmdviGuest {
  readonly memory: GuestMemory;
  readonly iommu: AmdviIommu;
  readonly observed: ObservedEvent[] = [];
  /** The IOMMU's own interrupts, and those of devices. */
  readonly messages: { readonly address: bigint; readonly data: number }[] = [];
  #nextTable = FIRST_TABLE;
  #tail = 0;
  #eventHead = 0;

  constructor(options: AmdviGuestOptions = {}) {
    const { capability, ...rest } = options;
    this.memory = guestMemory([0, RAM_PAGES]);
    this.iommu = new AmdviIommu({
      memory: this.memory.space,
      capability: { ...spec.BASE_CAPABILITY, ...capability },
      observer: { observe: (event) => this.observed.push(event) },
      sendInterrupt: (address, data) => this.messages.push({ address, data }),
      ...rest,
    });
  }

  /** Writes the 64-bit word `index` of a page. */
  poke(page: number, index: number, value: bigint): void {
    const cursor = this.#at(page, true);
    cursor.words[cursor.base + index * 2] = Number(BigInt.asUintN(32, value));
    cursor.words[cursor.base + index * 2 + 1] = Number(BigInt.asUintN(64, value) >> 32n);
  }

  peek(page: number, index: number): bigint {
    const cursor = this.#at(page, false);
    const at = cursor.base + index * 2;
    return (BigInt(cursor.words[at + 1]) << 32n) | BigInt(cursor.words[at]);
  }

  read(offset: number): bigint {
    return this.iommu.readRegister(offset, 8);
  }

  write(offset: number, value: bigint | number): void {
    this.iommu.writeRegister(offset, BigInt(value), 8);
  }

  get status(): number {
    return Number(this.read(STATUS));
  }

  /** Points the base registers at the guest's tables and rings, and sets Control. */
  start(control: number = RUNNING): void {
    this.write(DEVICE_TABLE_BASE, BigInt(DEVICE_TABLE * 4096 + DEVICE_TABLE_PAGES - 1));
    this.write(COMMAND_BASE, (8n << 56n) | BigInt(COMMANDS * 4096));
    this.write(EVENT_BASE, (8n << 56n) | BigInt(EVENTS * 4096));
    this.write(CONTROL, control);
  }

  /** Writes the entry of `requester`; nothing is invalidated. */
  entry(requester: number, fields: DeviceTableFields = {}): void {
    const { v = true, tv = true, mode = 3, root = 0, access = 3, domain = 1 } = fields;
    const { se, sa, ex, iv, intCtl = 0 } = fields;
    this.rawEntry(requester, [
      flag(v, 0n) | flag(tv, 1n) | (BigInt(mode) << 9n) | (BigInt(root) << 12n) | (BigInt(access) << 61n),
      BigInt(domain) | flag(se, 33n) | flag(sa, 34n) | flag(ex, 39n),
      flag(iv, 0n) | (BigInt(intCtl) << 60n),
      0n,
    ]);
  }

  rawEntry(requester: number, quads: readonly bigint[]): void {
    const page = DEVICE_TABLE + (requester >> 7);
    quads.forEach((quad, i) => this.poke(page, (requester & 127) * 4 + i, quad));
  }

  /** An empty table. */
  table(): number {
    return this.#nextTable++;
  }

  /**
   * Maps `pages`, a power of two, at `iova` in the tables of `levels` levels at `root`: one entry, or with NextLevel 7
   * as many as repeat it. Access 0 takes it away.
   */
  map(root: number, levels: number, iova: number, pages: number, target: number, access = 3): void {
    const level = Math.floor(Math.log2(pages) / 9) + 1;
    const table = this.tableAt(root, levels, iova, level);
    const span = 512 ** (level - 1);
    const count = pages / span;
    const rights = BigInt(access) << 61n;
    const entry =
      count === 1
        ? (BigInt(target) << 12n) | rights | 1n
        : (BigInt(target + pages / 2 - 1) << 12n) | rights | 0xe01n;
    const first = Math.floor(iova / span) % 512;
    for (let i = 0; i < count; i++) this.poke(table, first + i, access === 0 ? 0n : entry);
  }

  /** The table of `level` that translates `iova`, made where it is missing. */
  tableAt(root: number, levels: number, iova: number, level: number): number {
    let table = root;
    for (let at = levels; at > level; at--) {
      const index = Math.floor(iova / 512 ** (at - 1)) % 512;
      const entry = this.peek(table, index);
      if ((entry & 1n) === 0n || ((entry >> 9n) & 7n) !== BigInt(at - 1)) {
        const made = this.table();
        this.poke(table, index, (BigInt(made) << 12n) | (BigInt(at - 1) << 9n) | (3n << 61n) | 1n);
        table = made;
      } else {
        table = Number((entry >> 12n) & 0xff_ffff_ffffn);
      }
    }
    return table;
  }

  /** Tables of three levels with 4 KiB pages, iova page to target page. */
  tables(...leaves: readonly (readonly [iova: number, target: number])[]): number {
    const root = this.table();
    for (const [iova, target] of leaves) this.map(root, 3, iova, 1, target);
    return root;
  }

  /** Puts commands into the buffer without telling the IOMMU. */
  put(...commands: readonly Command[]): void {
    for (const [low, high] of commands) {
      this.poke(COMMANDS, this.#tail * 2, low);
      this.poke(COMMANDS, this.#tail * 2 + 1, high);
      this.#tail = (this.#tail + 1) % RING_ENTRIES;
    }
  }

  /** Puts commands into the buffer and moves the tail behind them. */
  submit(...commands: readonly Command[]): void {
    this.put(...commands);
    this.write(COMMAND_TAIL, BigInt(this.#tail * 16));
  }

  /** The 64 bits that waits store at `index`. */
  stored(index = 0): bigint {
    return this.peek(STORES, index);
  }

  /** Events logged since the last call, as their two 64-bit words; moves the head on. */
  takeEvents(): (readonly [bigint, bigint])[] {
    const events: (readonly [bigint, bigint])[] = [];
    const tail = Number(this.read(EVENT_TAIL)) / 16;
    while (this.#eventHead !== tail) {
      events.push([this.peek(EVENTS, this.#eventHead * 2), this.peek(EVENTS, this.#eventHead * 2 + 1)]);
      this.#eventHead = (this.#eventHead + 1) % RING_ENTRIES;
    }
    this.write(EVENT_HEAD, BigInt(tail * 16));
    return events;
  }

  #at(page: number, forWrite: boolean): PageCursor {
    const cursor = new PageCursor();
    if (!this.memory.space.locate(page, cursor, forWrite)) throw new Error(`no RAM at page ${page}`);
    return cursor;
  }
}

const opcode = (code: number): bigint => BigInt(code) << 60n;

/** COMPLETION_WAIT that stores `data` at word `index` of the page of stores. */
export function wait(data: bigint, index = 0): Command {
  return [opcode(1) | 1n | BigInt(STORES * 4096 + index * 8), data];
}

/** COMPLETION_WAIT that only interrupts. */
export const INTERRUPTING_WAIT: Command = [opcode(1) | 2n, 0n];

export function invalidateEntry(requester: number): Command {
  return [opcode(2) | BigInt(requester), 0n];
}

/** INVALIDATE_IOMMU_PAGES of one page. */
export function invalidatePage(domain: number, page: number): Command {
  return [opcode(3) | (BigInt(domain) << 32n), BigInt(page) << 12n];
}

/** INVALIDATE_IOMMU_PAGES with S: `pages` aligned pages, a power of two of at least 2. */
export function invalidatePages(domain: number, page: number, pages: number): Command {
  return [opcode(3) | (BigInt(domain) << 32n), (BigInt(page + pages / 2 - 1) << 12n) | 1n];
}

/** INVALIDATE_IOMMU_PAGES as Linux names a whole domain: S, PDE and 7FFF_FFFF_FFFF_F000h. */
export function invalidateDomain(domain: number): Command {
  return [opcode(3) | (BigInt(domain) << 32n), 0x7fff_ffff_ffff_f003n];
}

/** INVALIDATE_IOTLB_PAGES of one page. */
export function invalidateIotlb(requester: number, page: number): Command {
  return [opcode(4) | BigInt(requester), BigInt(page) << 12n];
}

export function invalidateInterrupts(requester: number): Command {
  return [opcode(5) | BigInt(requester), 0n];
}

export const PREFETCH: Command = [opcode(6), 0n];
export const INVALIDATE_ALL: Command = [opcode(8), 0n];
