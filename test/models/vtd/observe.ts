/** What the model says, as short text that a test compares. @module */
import { type WalkBudget, WalkReport } from '../../../src/iommu/index.ts';
import {
  Access,
  ALL_PAGES,
  formatAccess,
  type IommuTlbEntry,
  type PageRange,
} from '../../../src/memory/index.ts';
import { faultReason } from '../../../src/models/vtd/spec/index.ts';
import type { VtdRegion } from '../../../src/models/vtd/vtd-region.ts';
import type { Guest } from './table-builder.ts';

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

/** The specification's name of a fault code. */
export function conditionOf(code: number): string {
  return faultReason(code)?.condition ?? `unknown ${code}`;
}

/** A leaf, the name of a fault, or `-` where nothing is mapped. */
export function outcomeText(entry: IommuTlbEntry): string {
  if (entry.fault !== undefined) return conditionOf(entry.fault.code);
  return entry.access === Access.None ? '-' : leafText(entry.iova, entry.pages, entry.target, entry.access);
}

/** What asking for a page (Access.None), or an access to it, gives. */
export function translated(region: VtdRegion, page: number, access: Access = Access.None, index = 0): string {
  return outcomeText(region.translatePage(page, access, index));
}

/** The faults that were handed to the unit since the last call. */
export function takeFaults(guest: Guest): string[] {
  return guest.state.faults.splice(0).map(({ code }) => conditionOf(code));
}

/** A walk's leaves, and what it reported. */
export interface Walked {
  readonly leaves: string[];
  readonly report: WalkReport;
  /** `iova+pages condition` of each fault that the report lists. */
  readonly faults: string[];
}

/** Walks `range`; leaves are in the order in which they came. */
export function walked(
  region: VtdRegion,
  range: PageRange = ALL_PAGES,
  options: { readonly index?: number; readonly budget?: WalkBudget } = {},
): Walked {
  const report = new WalkReport(options.budget);
  const leaves: string[] = [];
  region.walk(
    range,
    options.index ?? 0,
    (batch) => {
      for (let i = 0; i < batch.length; i++) {
        leaves.push(leafText(batch.iova[i], batch.pages, batch.target[i], batch.access[i]));
      }
      return true;
    },
    report,
  );
  const faults = report.faults.map(
    ({ iova, pages, fault }) => `${iova.toString(16)}+${pages.toString(16)} ${conditionOf(fault.code)}`,
  );
  return { leaves, report, faults };
}
