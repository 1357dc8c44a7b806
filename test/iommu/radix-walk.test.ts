import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { walkRadix, WalkReport } from '../../src/iommu/index.ts';
import { PAGES_END } from '../../src/memory/index.ts';
import { naiveWalk } from '../reference/naive-walk.ts';
import { collectWalk } from '../support/collect-walk.ts';
import { spanOf } from '../support/table-writer.ts';
import { CONT, outsideFault, P, PS, R, RESERVED_FAULT, SKIP_SHIFT, W } from '../support/test-format.ts';
import { TABLES_AT, tableWorld } from '../support/table-world.ts';

describe('a walk', () => {
  it('of an empty table finds nothing and reads it once', () => {
    const { tables, covered } = tableWorld(4);

    const { leaves, report, finished } = collectWalk(tables, covered);

    expect(leaves).toEqual([]);
    expect(report.entries).toBe(512);
    expect(finished).toBe(true);
  });

  it('visits leaves of all sizes in ascending order', () => {
    const { tables, covered } = tableWorld(4);
    tables.map(0x40000, 0x80000, 3, 3);
    tables.map(0x3ff, 7, 3);
    tables.map(0x400, 0x200, 1, 2);
    tables.map(0x600, 8, 2);

    expect(collectWalk(tables, covered).leaves).toEqual([
      { iova: 0x3ff, pages: 1, target: 7, access: 3 },
      { iova: 0x400, pages: 512, target: 0x200, access: 1 },
      { iova: 0x600, pages: 1, target: 8, access: 2 },
      { iova: 0x40000, pages: 0x40000, target: 0x80000, access: 3 },
    ]);
  });

  it('reads each entry of each table once', () => {
    const { tables, covered } = tableWorld(4);
    for (let i = 0; i < 4; i++) tables.map(i * spanOf(3), i, 3);

    const { report } = collectWalk(tables, covered);

    expect(report.entries).toBe(tables.tables * 512);
  });

  it('reads only entries that overlap the range', () => {
    const { tables } = tableWorld(4);
    for (let i = 0; i < 4; i++) tables.map(i * spanOf(3), i, 3);

    const { report } = collectWalk(tables, { start: 5, end: 10 });

    expect(report.entries).toBe(1 + 1 + 1 + 5);
  });

  it('of an empty range reads nothing', () => {
    const { tables } = tableWorld(4);
    tables.map(5, 5, 3);

    expect(collectWalk(tables, { start: 5, end: 5 }).report.entries).toBe(0);
  });

  it('hands out a target of 52 bits of address', () => {
    const { tables, covered } = tableWorld(4);
    tables.map(0, 2 ** 40 - 1, 3);

    expect(collectWalk(tables, covered).leaves[0].target).toBe(2 ** 40 - 1);
  });

  it('lets an entry allow what all levels above allow', () => {
    const { tables, covered } = tableWorld(3);
    const table = tables.tableAt(0, 1);
    tables.setEntry(tables.tableAt(0, 2), 0, (table << 12) | R | P);
    tables.map(0, 9, 3);
    tables.map(1, 9, 2);

    expect(collectWalk(tables, covered).leaves).toEqual([{ iova: 0, pages: 1, target: 9, access: 1 }]);
  });

  it('does not enter a table through an entry that allows nothing', () => {
    const { tables, covered } = tableWorld(3);
    tables.map(0, 9, 3);
    tables.setEntry(tables.root, 0, (tables.tableAt(0, 2) << 12) | P);

    const { leaves, report } = collectWalk(tables, covered);

    expect(leaves).toEqual([]);
    expect(report.entries).toBe(512);
  });

  it('ends when the visitor has had enough', () => {
    const { tables, covered } = tableWorld(3);
    tables.map(0, 1, 3);
    tables.map(512, 1, 3);
    const seen: number[] = [];

    const finished = walkRadix(tables, covered, (batch) => seen.push(batch.iova[0]) < 1, new WalkReport());

    expect(seen).toEqual([0]);
    expect(finished).toBe(false);
  });

  it('is not disturbed by another one that its visitor makes', () => {
    const { tables, covered } = tableWorld(3);
    for (const iova of [0, 1, 512, 513]) tables.map(iova, iova + 7, 3);
    const seen: number[][] = [];

    walkRadix(
      tables,
      covered,
      (batch) => {
        const inner = collectWalk(tables, covered).leaves.map(({ target }) => target);
        seen.push(Array.from(batch.target.subarray(0, batch.length)), inner);
        return true;
      },
      new WalkReport(),
    );

    expect(seen).toEqual([
      [7, 8],
      [7, 8, 519, 520],
      [519, 520],
      [7, 8, 519, 520],
    ]);
  });
});

describe('a leaf that covers several entries', () => {
  it('is visited once', () => {
    const { tables, covered } = tableWorld(3);
    tables.mapContiguous(32, 64, 3);
    tables.map(48, 1, 3);

    expect(collectWalk(tables, covered).leaves).toEqual([
      { iova: 32, pages: 16, target: 64, access: 3 },
      { iova: 48, pages: 1, target: 1, access: 3 },
    ]);
  });

  it('is visited whole when the range begins within it', () => {
    const { tables } = tableWorld(3);
    tables.mapContiguous(32, 64, 3);

    expect(collectWalk(tables, { start: 40, end: 41 }).leaves).toEqual([
      { iova: 32, pages: 16, target: 64, access: 3 },
    ]);
  });

  it('is cut to what is left where its first entries say otherwise', () => {
    const { tables, covered } = tableWorld(3);
    tables.mapContiguous(32, 64, 3);
    tables.map(32, 7, 3);
    tables.clear(33);

    expect(collectWalk(tables, covered).leaves).toEqual([
      { iova: 32, pages: 1, target: 7, access: 3 },
      { iova: 34, pages: 14, target: 66, access: 3 },
    ]);
  });
});

describe('faults of the tables', () => {
  it('behind a leaf of several entries hide one entry and nothing else', () => {
    const { tables, covered } = tableWorld(3);
    tables.mapContiguous(0, 64, 3);
    tables.setEntry(tables.tableAt(0, 1), 16, P | PS);
    tables.map(17, 5, 3);

    expect(collectWalk(tables, covered).leaves.map(({ iova }) => iova)).toEqual([0, 17]);
  });

  it('of a table outside RAM begin with the entry in which the range begins', () => {
    const { tables } = tableWorld(3, true);
    const { base } = tables;
    tables.setEntry(tables.root, 1, (0x5000 << 12) | W | R | P);
    const start = base + spanOf(3) + 5 * 512 + 7;

    const { report } = collectWalk(tables, { start, end: start + 1024 });

    expect(report.faults).toEqual([
      { iova: base + spanOf(3) + 5 * 512, pages: 3 * 512, fault: outsideFault(2) },
    ]);
  });

  it('of a reserved bit hide one entry and nothing else', () => {
    const { tables, covered } = tableWorld(3);
    tables.map(0, 1, 3);
    tables.map(2, 2, 3);
    tables.setEntry(tables.tableAt(0, 1), 1, P | R, 0x80000000);

    const { leaves, report } = collectWalk(tables, covered);

    expect(leaves.map(({ iova }) => iova)).toEqual([0, 2]);
    expect(report.faults).toEqual([{ iova: 1, pages: 1, fault: RESERVED_FAULT }]);
  });

  it('of a table outside RAM hide what it would cover', () => {
    const { tables, covered } = tableWorld(3);
    tables.map(0, 1, 3);
    tables.setEntry(tables.root, 1, (0x5000 << 12) | W | R | P);

    const { leaves, report } = collectWalk(tables, covered);

    expect(leaves).toHaveLength(1);
    expect(report.faults).toEqual([{ iova: spanOf(3), pages: spanOf(3), fault: outsideFault(2) }]);
  });

  it('of a root outside RAM hide the range', () => {
    const { tables } = tableWorld(3);
    const { format, memory, levels, base } = tables;
    const lost = { format, memory, levels, base, root: 0x5000 };

    const { report, finished } = collectWalk(lost, { start: 0, end: 1024 });

    expect(report.faults).toEqual([{ iova: 0, pages: spanOf(3), fault: outsideFault(3) }]);
    expect(report.entries).toBe(0);
    expect(finished).toBe(true);
  });

  it('are listed sixteen times and counted beyond', () => {
    const { tables, covered } = tableWorld(1);
    for (let i = 0; i < 40; i++) tables.setEntry(tables.root, i, PS | P);

    const { report } = collectWalk(tables, covered);

    expect(report.faults).toHaveLength(16);
    expect(report.faultCount).toBe(40);
  });
});

/** Pages hidden by faults of each code. */
function hiddenPages(
  faults: readonly { readonly pages: number; readonly code: number }[],
): Map<number, number> {
  const hidden = new Map<number, number>();
  for (const { pages, code } of faults.toSorted((a, b) => a.code - b.code))
    hidden.set(code, (hidden.get(code) ?? 0) + pages);
  return hidden;
}

/** Whether no contiguous group has other entries written into it. */
function isConsistent(entries: readonly { table: number; index: number; flags: number }[]): boolean {
  const groups = entries.filter(({ flags }) => (flags & CONT) !== 0);
  return groups.every(
    (group) =>
      entries.filter(
        ({ table, index }) =>
          table === group.table && Math.floor(index / 16) === Math.floor(group.index / 16),
      ).length === 1,
  );
}

describe('the walk of any tables against one that takes a page at a time', () => {
  const entry = fc.record({
    table: fc.nat(5),
    index: fc.constantFrom(0, 1, 2, 15, 16, 17, 255, 256, 510, 511),
    /** Mostly sound bits. */
    flags: fc.constantFrom(
      P | R | W,
      P | R,
      P | W | R,
      P,
      PS | P | R | W,
      PS | P | R,
      CONT | P | R | W,
      CONT | PS | P | R,
      0,
    ),
    skip: fc.constantFrom(0, 0, 0, 0, 1, 2, 3),
    to: fc.oneof(
      { weight: 6, arbitrary: fc.nat(5).map((n) => TABLES_AT + n) },
      { weight: 2, arbitrary: fc.nat(3).map((n) => n * 512 ** 2 * 16) },
      { weight: 1, arbitrary: fc.constantFrom(0x5000, 0, 2 ** 40 - 1) },
    ),
    reserved: fc.constantFrom(0, 0, 0, 0, 0, 0, 0x100000, 0x80000000),
  });
  const edge = fc.tuple(fc.nat(511), fc.nat(511), fc.nat(511), fc.constantFrom(0, 0, 1, 511));

  it.each([
    [3, false],
    [4, false],
    [3, true],
  ])('finds the same leaves and faults: %d levels, at the top: %s', (levels, top) => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 24, size: 'max' }), edge, edge, (entries, a, b) => {
        const { tables, covered } = tableWorld(levels, top);
        for (let i = 1; i < 6; i++) tables.allocateTable();
        // Contiguous entries that disagree with their neighbours have no one meaning.
        const written = entries.filter(({ flags, index }) => (flags & CONT) === 0 || index % 16 === 0);
        for (const { table, index, flags, skip, to, reserved } of written) {
          const lo = ((to % 0x100000) * 4096 + flags + (skip << SKIP_SHIFT)) >>> 0;
          const hi = (Math.floor(to / 0x100000) | reserved) >>> 0;
          for (let i = index; i < index + ((flags & CONT) === 0 ? 1 : 16); i++)
            tables.setEntry(TABLES_AT + table, i, lo, hi);
        }
        const at = (x: readonly number[]): number =>
          covered.start +
          Math.min(512 ** levels, x[0] + x[1] * 512 + x[2] * 512 ** 2 + x[3] * 512 ** (levels - 1));
        const range = { start: Math.min(at(a), at(b)), end: Math.max(at(a), at(b)) };
        fc.pre(isConsistent(written));

        const real = collectWalk(tables, range, { entries: 2 ** 14, leaves: 4000 });
        fc.pre(real.finished);
        const naive = naiveWalk(tables, range.start, range.end);

        expect(real.leaves).toEqual(
          naive.leaves.map(({ iova, pages, target, access }) => ({ iova, pages, target, access })),
        );
        const { faults, faultCount } = real.report;
        if (faultCount > faults.length) return;
        expect(hiddenPages(faults.map(({ pages, fault }) => ({ pages, code: fault.code })))).toEqual(
          hiddenPages(naive.faults),
        );
      }),
      { numRuns: 150 },
    );
  });
});

it('a walk up to 2^64 reaches the last page', () => {
  const { tables, covered } = tableWorld(4, true);
  tables.map(PAGES_END - 1, 5, 3);

  expect(collectWalk(tables, covered).leaves).toEqual([
    { iova: PAGES_END - 1, pages: 1, target: 5, access: 3 },
  ]);
});
