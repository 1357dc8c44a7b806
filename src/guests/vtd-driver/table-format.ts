/** Second-stage entries as a guest's driver writes them (VT-d 9.8). @module */
import type { DecodedEntry } from '../../iommu/index.ts';
import type { Access } from '../../memory/index.ts';
import { spec } from '../../models/vtd/index.ts';
import { spanOf } from '../driver/table-entry.ts';
import type { EntryWords, GuestTableFormat } from '../driver/table-format.ts';

/** Entries for a unit whose CAP_REG.SSLPS is `SSLPS`. */
export class SecondStageTableFormat implements GuestTableFormat {
  readonly leafSizes: readonly number[];
  readonly skipsLevels = false;

  constructor(SSLPS: number) {
    const gib = (SSLPS & spec.SSLPS_1G) === 0 ? [] : [spanOf(3)];
    const mib2 = (SSLPS & spec.SSLPS_2M) === 0 ? [] : [spanOf(2)];
    this.leafSizes = [...gib, ...mib2, 1];
  }

  encodeLeaf(into: EntryWords, page: number, _pages: number, access: Access, level: number): void {
    // The shift keeps the low 20 bits of the page number, however large it is.
    into.lo = (page << 12) | access | (level > 1 ? spec.SS_PS : 0);
    into.hi = Math.floor(page / 0x100000);
  }

  encodeTable(into: EntryWords, page: number, _level: number): void {
    into.lo = (page << 12) | spec.SS_PRESENT;
    into.hi = Math.floor(page / 0x100000);
  }

  decode(lo: number, hi: number, level: number, into: DecodedEntry): void {
    const access = lo & spec.SS_PRESENT;
    if (access === 0) {
      into.notPresent();
      return;
    }
    const page = spec.pageOf(lo, hi & spec.SS_PAGE_HI);
    if (level === 1 || (level <= 3 && (lo & spec.SS_PS) !== 0)) into.leaf(page, spanOf(level), access);
    else into.table(page, level - 1, access);
  }
}
