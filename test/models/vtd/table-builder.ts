/**
 * A guest that writes VT-d structures by the specification's figures. Bit positions are written out here once more, so
 * that a wrong layout in the sources is not wrong in the tests too.
 *
 * @module
 */
import { requesterId } from '../../../src/iommu/index.ts';
import { DenseRamBlock, PageCursor, RamRegion } from '../../../src/memory/index.ts';
import type { FaultingRequest, RemappingState } from '../../../src/models/vtd/remapping-state.ts';
import { BASE_CAPABILITY, type Capability } from '../../../src/models/vtd/spec/index.ts';
import { VtdRegion, type VtdRegionOptions } from '../../../src/models/vtd/vtd-region.ts';
import { type GuestMemory, guestMemory } from '../../support/guest-memory.ts';

/** Bus 2, device 3, function 1: no index that is the same in root and context table. */
export const REQUESTER: number = requesterId(2, 3, 1);

/** Everything that a scalable-mode unit can offer to the paths under test. */
export const SCALABLE_CAPABILITY: Capability = {
  ...BASE_CAPABILITY,
  SAGAW: 0b1110,
  MGAW: 57,
  SMTS: true,
  SSTS: true,
  FSTS: true,
  NEST: true,
  FS5LP: true,
  FS1GP: true,
  SSADS: true,
  EAFS: true,
  PASID: true,
  RPS: true,
  PSS: 19,
};

/** RTADDR_REG.TTM. */
export const LEGACY = 0b00;
export const SCALABLE = 0b01;

/** What a guest is made with. */
export interface GuestOptions {
  readonly capability?: Partial<Capability>;
  readonly haw?: number;
  readonly ram?: readonly (readonly [start: number, pages: number])[];
  readonly region?: VtdRegionOptions;
}

/** 256 MiB, below which tables are written, and a little above 4 GiB. */
const DEFAULT_RAM = [
  [0, 0x10000],
  [0x100000, 0x1000],
] as const;

/** A context entry of legacy mode. */
export interface ContextFields {
  readonly present?: boolean;
  readonly fpd?: boolean;
  readonly tt?: number;
  readonly root?: number;
  readonly aw?: number;
  readonly did?: number;
}

/** A context entry of scalable mode, and the PASID directory entry behind it. */
export interface SmContextFields {
  readonly present?: boolean;
  readonly fpd?: boolean;
  readonly paside?: boolean;
  readonly pdts?: number;
  readonly ridPasid?: number;
  readonly directory?: number;
}

/** A PASID-table entry. */
export interface PasidFields {
  readonly present?: boolean;
  readonly fpd?: boolean;
  readonly aw?: number;
  readonly pgtt?: number;
  readonly ssade?: boolean;
  readonly secondStage?: number;
  readonly did?: number;
  readonly fspm?: number;
  readonly wpe?: boolean;
  readonly eafe?: boolean;
  readonly firstStage?: number;
}

/** The remapping unit as its tables see it, with the faults that it was handed. */
class State implements RemappingState {
  capability: Capability;
  haw: number;
  readonly memory;
  translationEnabled = true;
  rootTable = 0;
  translationTableMode: number = LEGACY;
  guestStopped = true;
  readonly faults: FaultingRequest[] = [];

  constructor(capability: Capability, haw: number, memory: GuestMemory) {
    this.capability = capability;
    this.haw = haw;
    this.memory = memory.space;
  }

  recordFault(request: FaultingRequest): void {
    this.faults.push(request);
  }
}

const flag = (on: boolean | undefined, bit: bigint): bigint => (on === true ? 1n << bit : 0n);
const address = (page: number): bigint => BigInt(page) << 12n;

/** Guest memory, a unit, and the pen that writes structures into it. */
export class Guest {
  readonly memory: GuestMemory;
  readonly state: State;
  /** Every 64-bit word written, by its number in guest-physical memory: what the reference reads. */
  readonly written: Map<bigint, bigint> = new Map();
  readonly #ram: readonly (readonly [number, number])[];
  readonly #options: VtdRegionOptions;
  #nextPage = 0x10;

  constructor(options: GuestOptions = {}) {
    this.#ram = options.ram ?? DEFAULT_RAM;
    this.#options = options.region ?? {};
    this.memory = guestMemory(...this.#ram);
    this.state = new State({ ...BASE_CAPABILITY, ...options.capability }, options.haw ?? 46, this.memory);
  }

  /** A page for the next table, all zeros. */
  newPage(): number {
    return this.#nextPage++;
  }

  isRam(page: bigint): boolean {
    return this.#ram.some(([start, pages]) => page >= BigInt(start) && page < BigInt(start + pages));
  }

  /** Writes the 64-bit word number `index` of a page. */
  set(page: number, index: number, value: bigint): void {
    const cursor = this.#at(page, true);
    cursor.words[cursor.base + index * 2] = Number(value & 0xffffffffn);
    cursor.words[cursor.base + index * 2 + 1] = Number((value >> 32n) & 0xffffffffn);
    this.written.set(BigInt(page) * 512n + BigInt(index), value);
  }

  /** Reads it from memory, where the model may have set flags. */
  get(page: number, index: number): bigint {
    const cursor = this.#at(page, false);
    const at = cursor.base + index * 2;
    return (BigInt(cursor.words[at + 1]) << 32n) | BigInt(cursor.words[at]);
  }

  /** Puts ROM with the same content over a page of RAM. */
  showAsRom(page: number): void {
    const block = new DenseRamBlock(1);
    const copy = new PageCursor();
    block.locate(0, copy, true);
    copy.bytes().set(this.#at(page, false).bytes());
    this.memory.root.add(new RamRegion('ROM', block, { readonly: true }), page, 1);
  }

  /** A region of the requester. */
  region(requester: number = REQUESTER, options: VtdRegionOptions = this.#options): VtdRegion {
    return new VtdRegion('VT-d under test', this.state, requester, options);
  }

  /** Root table and context table of legacy mode with an entry for the requester; gives the pages of both. */
  legacy(context: ContextFields, requester: number = REQUESTER): { root: number; context: number } {
    const pages = { root: this.newPage(), context: this.newPage() };
    this.state.translationTableMode = LEGACY;
    this.state.rootTable = pages.root;
    this.set(pages.root, (requester >> 8) * 2, address(pages.context) | 1n);
    this.setContext(pages.context, context, requester);
    return pages;
  }

  setContext(table: number, fields: ContextFields, requester: number = REQUESTER): void {
    const { present = true, fpd, tt = 0, root = 0, aw = 2, did = 1 } = fields;
    const at = (requester & 0xff) * 2;
    this.set(table, at, address(root) | (BigInt(tt) << 2n) | flag(fpd, 1n) | flag(present, 0n));
    this.set(table, at + 1, (BigInt(did) << 8n) | BigInt(aw));
  }

  /** Root, context and PASID structures of scalable mode for the requester; `entry` serves PASID `pasid`. */
  scalable(
    entry: PasidFields,
    context: SmContextFields = {},
    pasid: number = context.ridPasid ?? 0,
    requester: number = REQUESTER,
  ): { root: number; context: number; directory: number; table: number } {
    const directory = context.directory ?? this.newPage();
    const pages = { root: this.newPage(), context: this.newPage(), directory, table: this.newPage() };
    this.state.translationTableMode = SCALABLE;
    this.state.rootTable = pages.root;
    const upper = (requester & 0x80) === 0 ? 0 : 1;
    this.set(pages.root, (requester >> 8) * 2 + upper, address(pages.context) | 1n);
    this.setSmContext(pages.context, { ...context, directory }, requester);
    const directoryIndex = pasid >> 6;
    if (this.isRam(BigInt(directory + (directoryIndex >> 9)))) {
      this.set(directory + (directoryIndex >> 9), directoryIndex & 511, address(pages.table) | 1n);
    }
    this.setPasid(pages.table, pasid, entry);
    return pages;
  }

  setSmContext(table: number, fields: SmContextFields, requester: number = REQUESTER): void {
    const { present = true, fpd, paside, pdts = 0, ridPasid = 0, directory = 0 } = fields;
    const at = (requester & 0x7f) * 4;
    const flags = flag(paside, 3n) | flag(fpd, 1n) | flag(present, 0n);
    this.set(table, at, address(directory) | (BigInt(pdts) << 9n) | flags);
    this.set(table, at + 1, BigInt(ridPasid));
  }

  /** Writes the entry of `pasid` in the PASID table at `table`. */
  setPasid(table: number, pasid: number, fields: PasidFields): void {
    const { present = true, fpd, aw = 2, pgtt = 0b010, ssade, secondStage = 0, did = 1 } = fields;
    const { fspm = 0, wpe, eafe, firstStage = 0 } = fields;
    const at = (pasid & 63) * 8;
    const kind =
      (BigInt(pgtt) << 6n) | (BigInt(aw) << 2n) | flag(ssade, 9n) | flag(fpd, 1n) | flag(present, 0n);
    this.set(table, at, address(secondStage) | kind);
    this.set(table, at + 1, BigInt(did));
    this.set(table, at + 2, address(firstStage) | (BigInt(fspm) << 2n) | flag(wpe, 4n) | flag(eafe, 7n));
  }

  #at(page: number, forWrite: boolean): PageCursor {
    const cursor = new PageCursor();
    if (!this.memory.space.locate(page, cursor, forWrite))
      throw new Error(`no RAM at page 0x${page.toString(16)}`);
    return cursor;
  }
}
