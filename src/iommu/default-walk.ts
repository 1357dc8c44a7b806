/** The walk for IOMMUs that have no table to walk. @module */
import { Access, type IommuTlbEntry, type PageRange } from '../memory/index.ts';
import { type LeafVisitor, withBatch } from './leaf-batch.ts';
import type { WalkReport } from './walk-report.ts';

/**
 * Translates at every granule of `range` and reports each entry found once, at its own size; steps by the larger of
 * granule and entry, so that a 2 MiB entry costs one translation and not 512. A granule that begins with a finer entry
 * is looked at entry by entry; one whose first page is not mapped is taken to be empty. `translate` is asked with access
 * None. It still costs a translation for every granule that is not mapped: a model that has tables walks those instead.
 */
export function walkByTranslating(
  range: PageRange,
  granule: number,
  translate: (page: number) => IommuTlbEntry,
  visit: LeafVisitor,
  report: WalkReport,
): void {
  withBatch((batch) => {
    let page = range.start;
    /** End of a granule in which something finer was found. */
    let fineUntil = 0;
    while (page < range.end) {
      report.entries++;
      if (report.entries > report.budget.entries || report.leaves >= report.budget.leaves) {
        report.cutAt = page;
        return;
      }
      const entry = translate(page);
      const granuleEnd = page - (page % granule) + granule;
      let next = page < fineUntil ? page + 1 : granuleEnd;
      if (entry.fault !== undefined) {
        report.addFault(page, next - page, entry.fault);
      } else if (entry.access !== Access.None) {
        report.leaves++;
        batch.pages = entry.pages;
        batch.length = 0;
        batch.push(entry.iova, entry.target, entry.access);
        if (!visit(batch)) return;
        next = entry.iova + entry.pages;
        fineUntil = granuleEnd;
      }
      page = next;
    }
  });
}
