/**
 * What tells one radix table format from another: VT-d second and first stage, AMD-Vi, SMMUv3, RISC-V, ...
 *
 * A format is data for the entries that fill a guest's tables (plain leaves, tested with two masks in the walker's
 * inner loop) and one function for all the rest.
 *
 * @module
 */
import type { Access, PageCursor, TranslationFault } from '../memory/index.ts';

/** What an entry is. */
export type EntryKind = 0 | 1 | 2 | 3;

/** The values of {@link EntryKind}. */
export const EntryKind: {
  readonly NotPresent: 0;
  readonly Table: 1;
  readonly Leaf: 2;
  readonly Fault: 3;
} = { NotPresent: 0, Table: 1, Leaf: 2, Fault: 3 };

/** A decoded entry. Reused: `decode` fills all that its kind has. */
export class DecodedEntry {
  kind: EntryKind = EntryKind.NotPresent;
  /** Table: page of the next table. Leaf: target page. */
  page = 0;
  /** Table: level of the next table, 1 to one below this; lower than that where a format skips levels. */
  nextLevel = 0;
  /** Leaf: pages it covers, a power of two; usually those of an entry at its level. */
  pages = 0;
  /** Table and leaf: what the entry allows, to be combined with the levels above. */
  access = 0;
  /** Fault: the specification's reason. */
  fault: TranslationFault | undefined;

  notPresent(): void {
    this.kind = EntryKind.NotPresent;
  }

  table(page: number, nextLevel: number, access: number): void {
    this.kind = EntryKind.Table;
    this.page = page;
    this.nextLevel = nextLevel;
    this.access = access;
  }

  leaf(page: number, pages: number, access: number): void {
    this.kind = EntryKind.Leaf;
    this.page = page;
    this.pages = pages;
    this.access = access;
  }

  faulty(fault: TranslationFault): void {
    this.kind = EntryKind.Fault;
    this.fault = fault;
  }
}

/** How to recognise a leaf of regular size at one level without calling `decode`: `(lo & mask) === value && (hi & maskHi) === 0`. */
export interface PlainLeaf {
  /** Bits of the low word that are fixed in a plain leaf: those that say "leaf", and every reserved one. */
  readonly mask: number;
  readonly value: number;
  /** Bits of the high word that must be clear. */
  readonly maskHi: number;
}

/** Spans by level, 1 to 6. A power would be computed anew for every table, as a double that makes doubles of all it touches. */
const SPANS = [0, 1, 512, 512 ** 2, 512 ** 3, 512 ** 4, 512 ** 5];

/** A radix table format with 512 entries of 64 bits, read as two 32-bit words, in every table. */
export abstract class TableFormat {
  /** Name for people, such as `VT-d second-stage`. */
  abstract readonly name: string;
  /** An entry whose low word has none of these bits is not present. */
  abstract readonly presentMask: number;
  /** Plain leaves by level (index 0 unused); undefined where a level has none. */
  abstract readonly plainLeaves: readonly (PlainLeaf | undefined)[];
  /** Whether the access bits of a plain leaf are in its high word. */
  abstract readonly accessInHi: boolean;
  /** Right shift that brings read to bit 0 and write to bit 1. */
  abstract readonly accessShift: number;
  /** Bits of the high word that belong to the address. */
  abstract readonly addressMaskHi: number;

  /** Span of an entry at `level` in pages: 1, 512, 512^2, ... */
  span(level: number): number {
    return SPANS[level]!;
  }

  /** What the entry `lo`, `hi` in a table of `level` is. Never throws. Agrees with `plainLeaves` on every entry. */
  abstract decode(lo: number, hi: number, level: number, into: DecodedEntry): void;

  /** The fault of a table (or, for level 0, of a leaf) that lies outside RAM. */
  abstract outsideRam(level: number): TranslationFault;
}

/** Where tables are read from: guest-physical memory, or a guest's second stage before it. */
export interface TableMemory {
  /** Points `cursor` at a page; false when a table cannot lie there. */
  locate(page: number, cursor: PageCursor, forWrite?: boolean): boolean;
}

/** A tree of tables. */
export interface RadixTable {
  readonly format: TableFormat;
  readonly memory: TableMemory;
  /** Page of the root table. */
  readonly root: number;
  /** Level of the root table; a leaf of 4 KiB is at level 1. */
  readonly levels: number;
  /** Page of the input space that entry 0 of the root stands for; the upper half of a canonical space has one. */
  readonly base: number;
  /** What the structure that names the root table allows, combined with every level; everything when left out. */
  readonly access?: Access;
}
