/** Entries of I/O page tables as a guest's driver writes them (AMD-Vi 2.2.3). @module */
import type { DecodedEntry } from '../../iommu/index.ts';
import type { Access, TranslationFault } from '../../memory/index.ts';
import { spec } from '../../models/amdvi/index.ts';
import { spanOf } from '../driver/table-entry.ts';
import type { EntryWords, GuestTableFormat } from '../driver/table-format.ts';

/** log2 of the pages of the largest leaf: half of what 52-bit addresses reach. */
const LARGEST = 39;

const UNUSABLE: TranslationFault = {
  code: 0,
  reason: 'the entry has a NextLevel or a size that its level cannot have',
};

/** Leaves of every power of two: NextLevel 0 where a level has entries of that size, NextLevel 7 elsewhere. */
export class AmdviTableFormat implements GuestTableFormat {
  readonly leafSizes: readonly number[] = Array.from({ length: LARGEST + 1 }, (_, i) => 2 ** (LARGEST - i));
  readonly skipsLevels = true;

  encodeLeaf(into: EntryWords, page: number, pages: number, access: Access, level: number): void {
    const sized = pages !== spanOf(level);
    const address = sized ? spec.encodePages(page, pages) : page;
    const next = sized ? spec.NEXT_LEVEL_SIZED : spec.NEXT_LEVEL_PAGE;
    // The shift keeps the low 20 bits of the page number, however large it is.
    into.lo = (address << 12) | (next << spec.PTE_NEXT_LEVEL_SHIFT) | spec.PTE_PR;
    // FC, as Linux sets it: the transaction is coherent whatever the device says.
    into.hi = Math.floor(address / 0x100000) | (access << spec.PTE_ACCESS_SHIFT_HI) | spec.PTE_FC_HI;
  }

  encodeTable(into: EntryWords, page: number, level: number): void {
    into.lo = (page << 12) | (level << spec.PTE_NEXT_LEVEL_SHIFT) | spec.PTE_PR;
    into.hi = Math.floor(page / 0x100000) | spec.PTE_IR_HI | spec.PTE_IW_HI;
  }

  decode(lo: number, hi: number, level: number, into: DecodedEntry): void {
    if ((lo & spec.PTE_PR) === 0) {
      into.notPresent();
      return;
    }
    const next = (lo & spec.PTE_NEXT_LEVEL) >>> spec.PTE_NEXT_LEVEL_SHIFT;
    const page = spec.pageOf(lo, hi & spec.PTE_PAGE_HI);
    const access = (hi >>> spec.PTE_ACCESS_SHIFT_HI) & 3;
    if (next === spec.NEXT_LEVEL_PAGE || next === spec.NEXT_LEVEL_SIZED) {
      const pages = next === spec.NEXT_LEVEL_PAGE ? spanOf(level) : sizedPages(lo, hi, level);
      if (pages === undefined) into.faulty(UNUSABLE);
      else into.leaf(Math.floor(page / pages) * pages, pages, access);
    } else if (next < level) {
      into.table(page, next, access);
    } else {
      into.faulty(UNUSABLE);
    }
  }
}

/** A size that is encoded lies between those of entries at the level and at the one above. */
function sizedPages(lo: number, hi: number, level: number): number | undefined {
  const pages = spec.encodedPages(lo, hi) ?? 0;
  return pages > spanOf(level) && pages < spanOf(level + 1) ? pages : undefined;
}
