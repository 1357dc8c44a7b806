/**
 * A table format of the tests' own, near to x86's, with what other architectures add: leaves that cover sixteen
 * entries, tables that skip levels, entries that are present and allow nothing.
 *
 *     bit 0      P     present
 *     bit 1, 2   R, W  access; combined over the levels
 *     bit 7      PS    leaf, at levels 2 and 3; reserved at all others
 *     bit 8      CONT  a leaf that covers sixteen entries and is repeated in each of them
 *     bit 9, 10  SKIP  levels left out below a table entry
 *     bit 12-51  page; the low bits that a large leaf does not use are reserved
 *     bit 52-63  reserved
 *
 * @module
 */
import { type DecodedEntry, type PlainLeaf, TableFormat } from '../../src/iommu/index.ts';
import type { TranslationFault } from '../../src/memory/index.ts';

export const P = 1;
export const R = 2;
export const W = 4;
export const PS = 0x80;
export const CONT = 0x100;
export const SKIP_SHIFT = 9;

const RESERVED_HI = 0xfff00000;
const CONT_ENTRIES = 16;

export const RESERVED_FAULT: TranslationFault = { code: 1, reason: 'a reserved bit is set' };

/** The fault of a table outside RAM at `level`. */
export function outsideFault(level: number): TranslationFault {
  return { code: 0x100 + level, reason: `the table of level ${level} lies outside RAM` };
}

class TestFormat extends TableFormat {
  readonly name = 'test format';
  readonly presentMask = P;
  readonly accessInHi = false;
  readonly accessShift = 1;
  readonly addressMaskHi = 0xfffff;
  readonly plainLeaves: readonly (PlainLeaf | undefined)[] = [
    undefined,
    { mask: P | PS | CONT, value: P, maskHi: RESERVED_HI },
    { mask: P | PS | CONT | 0x1ff000, value: P | PS, maskHi: RESERVED_HI },
    { mask: (P | PS | CONT | 0x3ffff000) >>> 0, value: P | PS, maskHi: RESERVED_HI },
  ];

  decode(lo: number, hi: number, level: number, into: DecodedEntry): void {
    if ((lo & P) === 0) return into.notPresent();
    if ((hi & RESERVED_HI) !== 0) return into.faulty(RESERVED_FAULT);
    const page = (hi & 0xfffff) * 0x100000 + (lo >>> 12);
    const access = (lo >>> 1) & 3;
    const span = this.span(level);
    const big = (lo & PS) !== 0;
    if (level > 1 && !big) {
      const next = level - 1 - ((lo >>> SKIP_SHIFT) & 3);
      return next < 1 ? into.faulty(RESERVED_FAULT) : into.table(page, next, access);
    }
    if (big && (level === 1 || level > 3)) return into.faulty(RESERVED_FAULT);
    const pages = (lo & CONT) === 0 ? span : span * CONT_ENTRIES;
    if (page % pages !== 0) return into.faulty(RESERVED_FAULT);
    into.leaf(page, pages, access);
  }

  outsideRam(level: number): TranslationFault {
    return outsideFault(level);
  }
}

export const TEST_FORMAT: TableFormat = new TestFormat();
