/** What tells one format of radix tables from another for a driver that writes them. @module */
import type { DecodedEntry } from '../../iommu/index.ts';
import type { Access } from '../../memory/index.ts';

/** The two 32-bit words of an entry. Reused: an encoder fills both. */
export class EntryWords {
  lo = 0;
  hi = 0;
}

/**
 * A format with 512 entries of 64 bits in every table; level 1 has the leaves of 4 KiB. The reading side of the same
 * format is the model's own, so that each checks the other.
 */
export interface GuestTableFormat {
  /** Pages of the leaves that may be written, descending powers of two, 1 the last. */
  readonly leafSizes: readonly number[];
  /** Whether an entry may point at a table more than one level below its own. */
  readonly skipsLevels: boolean;
  /**
   * A leaf of `pages` pages at `page`, which is aligned to them, in a table of `level`: written into each entry that
   * the leaf covers. New leaves have one of `leafSizes` and lie where entries are the largest not larger than they.
   */
  encodeLeaf(into: EntryWords, page: number, pages: number, access: Access, level: number): void;
  /** An entry that points at the table of `level` at `page`. */
  encodeTable(into: EntryWords, page: number, level: number): void;
  /**
   * What the entry `lo`, `hi` in a table of `level` is; a leaf has at least the pages of an entry and at most those of the
   * table. Fault stands for what no driver writes: it is in the way of mappings, leads nowhere, and goes when its range
   * is unmapped. Never throws.
   */
  decode(lo: number, hi: number, level: number, into: DecodedEntry): void;
}
