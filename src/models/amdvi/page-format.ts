/** I/O page tables for host translations as a format of the shared radix walker (AMD-Vi 2.2.3). @module */
import { type DecodedEntry, type PlainLeaf, TableFormat } from '../../iommu/index.ts';
import type { TranslationFault } from '../../memory/index.ts';
import * as spec from './spec/index.ts';

class HostPageFormat extends TableFormat {
  readonly name = 'AMD-Vi host';
  readonly presentMask: number = spec.PTE_PR;
  readonly accessInHi = true;
  readonly accessShift: number = spec.PTE_ACCESS_SHIFT_HI;
  readonly addressMaskHi: number = spec.PTE_PAGE_HI;
  readonly plainLeaves: readonly (PlainLeaf | undefined)[] = [
    undefined,
    ...[1, 2, 3, 4, 5, 6].map((level) => plainLeaf(level)),
  ];

  override decode(lo: number, hi: number, level: number, into: DecodedEntry): void {
    if ((lo & spec.PTE_PR) === 0) return into.notPresent();
    const nextLevel = (lo & spec.PTE_NEXT_LEVEL) >>> spec.PTE_NEXT_LEVEL_SHIFT;
    const isLeaf = nextLevel === spec.NEXT_LEVEL_PAGE || nextLevel === spec.NEXT_LEVEL_SIZED;
    if (!isLeaf && nextLevel >= level) return into.faulty(spec.LEVEL_INVALID);
    if ((hi & (isLeaf ? spec.PTE_RESERVED_HI : spec.PDE_RESERVED_HI)) !== 0) {
      return into.faulty(spec.PAGE_RESERVED_BIT);
    }
    const page = spec.pageOf(lo, hi & spec.PTE_PAGE_HI);
    const access = (hi >>> spec.PTE_ACCESS_SHIFT_HI) & 3;
    if (!isLeaf) return into.table(page, nextLevel, access);
    const span = this.span(level);
    const pages = nextLevel === spec.NEXT_LEVEL_PAGE ? span : sizedPages(lo, hi, span);
    if (pages === undefined) return into.faulty(spec.LEVEL_INVALID);
    into.leaf(Math.floor(page / pages) * pages, pages, access);
  }

  override outsideRam(_level: number): TranslationFault {
    return spec.TABLE_UNREADABLE;
  }
}

/** An encoded size is larger than the level's own and smaller than that of the level above. */
function sizedPages(lo: number, hi: number, span: number): number | undefined {
  const pages = spec.encodedPages(lo, hi);
  return pages !== undefined && pages > span && pages < span * 512 ? pages : undefined;
}

/** Pages of the level's size, with no address bit set below it. */
function plainLeaf(level: number): PlainLeaf {
  const below: spec.Bits = [11 + 9 * (level - 1), 12];
  const aligned = (word: number): number => (level === 1 ? 0 : spec.maskInWord(below, word));
  return {
    mask: (spec.PTE_PR | spec.PTE_NEXT_LEVEL | aligned(0)) >>> 0,
    value: spec.PTE_PR,
    maskHi: (spec.PTE_RESERVED_HI | aligned(1)) >>> 0,
  };
}

/** Host page tables: every mode, 1 to 6 levels. */
export const HOST_PAGE_FORMAT: TableFormat = new HostPageFormat();
