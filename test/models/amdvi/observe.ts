/** What the model says, as short text that a test compares. @module */
import { type WalkBudget, WalkReport } from '../../../src/iommu/index.ts';
import { Access, ALL_PAGES, formatAccess, type PageRange } from '../../../src/memory/index.ts';
import type { AmdviRegion } from '../../../src/models/amdvi/index.ts';

const hex = (value: number | bigint): string => value.toString(16);

/** `iova+pages>target rw`, all in hexadecimal page numbers. */
export function leafText(
  iova: number | bigint,
  pages: number | bigint,
  target: number | bigint,
  access: number,
): string {
  return `${hex(iova)}+${hex(pages)}>${hex(target)} ${formatAccess(access as Access)}`;
}

/** A leaf, the code of a fault in hexadecimal, or `-` where nothing is mapped. */
export function translated(region: AmdviRegion, page: number, access: Access = Access.None): string {
  const entry = region.translatePage(page, access, 0);
  if (entry.fault !== undefined) return `fault ${hex(entry.fault.code)}`;
  return entry.access === Access.None ? '-' : leafText(entry.iova, entry.pages, entry.target, entry.access);
}

/** A walk's leaves, in the order in which they came, and what it reported. */
export interface Walked {
  readonly leaves: string[];
  readonly report: WalkReport;
  /** `iova+pages code` of each fault that the report lists. */
  readonly faults: string[];
}

export function walked(region: AmdviRegion, range: PageRange = ALL_PAGES, budget?: WalkBudget): Walked {
  const report = new WalkReport(budget);
  const leaves: string[] = [];
  const visit = (batch: {
    readonly length: number;
    readonly iova: ArrayLike<number>;
    readonly pages: number;
    readonly target: ArrayLike<number>;
    readonly access: ArrayLike<number>;
  }): boolean => {
    for (let i = 0; i < batch.length; i++)
      leaves.push(leafText(batch.iova[i], batch.pages, batch.target[i], batch.access[i]));
    return true;
  };
  region.walk(range, 0, visit, report);
  const faults = report.faults.map(
    ({ iova, pages, fault }) => `${hex(iova)}+${hex(pages)} ${hex(fault.code)}`,
  );
  return { leaves, report, faults };
}
