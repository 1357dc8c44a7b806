/** The leaves of a requester piece by piece, so that a listing of any length is written as fast as it is read. @module */
import type { LeafVisitor, Mapping, WalkReport } from '../../iommu/index.ts';
import { type Access, ALL_PAGES, type PageRange } from '../../memory/index.ts';

/** Walks the leaves that overlap a range. */
export type LeafWalk = (range: PageRange, visit: LeafVisitor, report: WalkReport) => void;

/** Leaves that are held at a time: a few megabytes of text. */
const CHUNK_LEAVES = 16_384;

/**
 * All leaves, ascending, each once, in chunks that may be kept. The walk is left after each chunk and taken up again
 * behind its last leaf, which reads a table of each level anew.
 */
export function* mappingChunks(
  walk: LeafWalk,
  report: WalkReport,
): Generator<readonly Mapping[], void, undefined> {
  for (let next: number | undefined = ALL_PAGES.start; next !== undefined && next < ALL_PAGES.end; ) {
    const start: number = next;
    const chunk: Mapping[] = [];
    next = undefined;
    walk(
      { start, end: ALL_PAGES.end },
      (batch) => {
        const { pages } = batch;
        for (let i = 0; i < batch.length; i++) {
          chunk.push({
            iova: batch.iova[i]!,
            pages,
            target: batch.target[i]!,
            access: batch.access[i]! as Access,
          });
        }
        if (chunk.length < CHUNK_LEAVES) return true;
        const last = chunk.at(-1)!;
        next = last.iova + last.pages;
        return false;
      },
      report,
    );
    if (chunk.length > 0) yield chunk;
    if (report.cutAt !== undefined) return;
  }
}
