/** Faults in words. @module */
import { formatRequesterId, type RequesterId, type WalkReport } from '../../iommu/index.ts';
import { formatPage, formatRange } from '../../memory/index.ts';
import { faultLine } from '../models/fault-words.ts';
import type { OpenIommu } from '../models/open-iommu.ts';
import type { SharedBudget } from './maps-listing.ts';
import { formatCount, plural } from '../terminal/text.ts';

/** The table faults that a walk met, a line each under a heading; no line when there are none. */
export function tableFaultLines(report: WalkReport, unit: OpenIommu): string[] {
  const { faultCount, faults } = report;
  if (faultCount === 0) return [];
  const lines = faults.map(
    ({ iova, pages, fault }) =>
      `  ${formatRange({ start: iova, end: iova + pages })}: ${faultLine(unit.describeFault(fault))}`,
  );
  if (faultCount > faults.length) lines.push(`  ... and ${formatCount(faultCount - faults.length)} more`);
  return [`${plural(faultCount, 'table fault')}; what they hide is not mapped:`, ...lines];
}

/** What there is to say about a walk that was cut, with the remedy. */
export function cutText(report: WalkReport, budget: SharedBudget): string {
  return (
    `the walk was cut at IOVA ${formatPage(report.cutAt ?? 0)} after ${budget.spent}, and what follows is missing; if ` +
    'the guest may really have so many, raise --budget'
  );
}

/** `02:00.0`, or `02:00.0-02:0f.7` for several. */
export function requesterRange(first: RequesterId, last: RequesterId): string {
  return first === last ? formatRequesterId(first) : `${formatRequesterId(first)}-${formatRequesterId(last)}`;
}
