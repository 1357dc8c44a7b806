import { describe, expect, it } from 'vitest';
import { translateRadix } from '../../src/iommu/index.ts';
import { PAGES_END } from '../../src/memory/index.ts';
import { naiveTranslate } from '../reference/naive-walk.ts';
import { collectWalk } from '../support/collect-walk.ts';
import { spanOf } from '../support/table-writer.ts';
import { tableWorld } from '../support/table-world.ts';

/** Every number of levels, every size of leaf, every place that an off-by-one could get wrong. */
const CASES = [1, 2, 3, 4, 5, 6].flatMap((levels) =>
  // Six levels stand for more than 2^64 bytes, so their root begins at 0.
  (levels < 6 ? [false, true] : [false]).flatMap((top) =>
    [1, 2, 3]
      .filter((level) => level <= levels)
      .flatMap((level) => [false, true].map((contiguous) => ({ levels, top, level, contiguous }))),
  ),
);

describe.each(CASES)(
  'a leaf of level $level in tables of $levels levels (at the top: $top, contiguous: $contiguous)',
  ({ levels, top, level, contiguous }) => {
    const pages = spanOf(level) * (contiguous ? 16 : 1);
    const end = Math.min(512 ** levels, PAGES_END);
    const middle = Math.floor(end / 2 / pages) * pages;
    /** First, second, last and middle place; the last before and the first of the upper half. */
    const places = [
      ...new Set(
        [0, pages, middle - pages, middle, end - pages].filter((at) => at >= 0 && at + pages <= end),
      ),
    ];

    it.each(places)('at page %d is found from within and from nowhere else', (place) => {
      const { tables, covered } = tableWorld(levels, top);
      const iova = covered.start + place;
      if (contiguous) tables.mapContiguous(iova, pages * 3, 3, level);
      else tables.map(iova, pages * 3, 3, level);
      const leaf = { iova, pages, target: pages * 3, access: 3 };
      const last = iova + pages - 1;

      const around = [covered.start, iova - 1, iova, last, last + 1, covered.end - 1].filter(
        (page) => page >= covered.start && page < covered.end,
      );

      for (const page of around) {
        const isInside = page >= iova && page <= last;
        const { leaves } = collectWalk(tables, { start: page, end: page + 1 });
        expect(leaves).toEqual(isInside ? [leaf] : []);
        const found = translateRadix(tables, page);
        expect(found).toEqual(
          isInside
            ? { kind: 'leaf', ...leaf }
            : { kind: 'not-present', level: found.kind === 'not-present' ? found.level : 0 },
        );
        const naive = naiveTranslate(tables, page);
        expect([naive.kind === 'leaf', naive.kind === 'leaf' && naive.target]).toEqual([
          isInside,
          isInside && leaf.target,
        ]);
      }
    });

    it.each(places)('at page %d is visited once by ranges that touch its edges', (place) => {
      const { tables, covered } = tableWorld(levels, top);
      const iova = covered.start + place;
      if (contiguous) tables.mapContiguous(iova, 0, 1, level);
      else tables.map(iova, 0, 1, level);
      const last = iova + pages - 1;
      const from = Math.max(covered.start, iova - 1);
      const to = Math.min(covered.end, last + 2);

      const ranges = [
        { start: covered.start, end: covered.end },
        { start: from, end: iova + 1 },
        { start: last, end: to },
        { start: from, end: to },
      ];

      for (const range of ranges)
        expect(collectWalk(tables, range).leaves).toEqual([{ iova, pages, target: 0, access: 1 }]);
      const beside = [
        { start: from, end: iova },
        { start: last + 1, end: to },
      ];
      for (const range of beside) expect(collectWalk(tables, range).leaves).toEqual([]);
    });
  },
);
