import { describe, expect, it } from 'vitest';
import { DEFAULT_WALK_BUDGET, translateRadix, walkRadix, WalkReport } from '../../src/iommu/index.ts';
import { ALL_PAGES } from '../../src/memory/index.ts';
import { collectWalk } from '../support/collect-walk.ts';
import { spanOf, type TableWriter } from '../support/table-writer.ts';
import { CONT, P, PS, R, W } from '../support/test-format.ts';
import { tableWorld } from '../support/table-world.ts';

/** Makes all entries of `table` point at `page`. */
function fill(tables: TableWriter, table: number, page: number): void {
  for (let i = 0; i < 512; i++) tables.setEntry(table, i, ((page << 12) | W | R | P) >>> 0);
}

/** Every entry of every level leads to one and the same table below; the last one is empty: 512^3 ways to nothing. */
function multiplied(): ReturnType<typeof tableWorld> {
  const world = tableWorld(4);
  const { tables } = world;
  const [third, second, first] = [0, 0, 0].map(() => tables.allocateTable());
  fill(tables, tables.root, third);
  fill(tables, third, second);
  fill(tables, second, first);
  return world;
}

/** A root all of whose entries point at itself. */
function selfReferring(): ReturnType<typeof tableWorld> {
  const world = tableWorld(4);
  fill(world.tables, world.tables.root, world.tables.root);
  return world;
}

describe('tables that multiply one table', () => {
  it('are walked no further than the budget of entries', () => {
    const { tables, covered } = multiplied();

    const { report, finished } = collectWalk(tables, covered, { entries: 100_000, leaves: 1000 });

    expect(finished).toBe(false);
    expect(report.entries).toBeGreaterThan(100_000);
    expect(report.entries).toBeLessThanOrEqual(100_000 + 512);
  });

  it('are cut where nothing was looked at yet', () => {
    const { tables, covered } = multiplied();
    // Root, third and second table, and ten of the first: the eleventh is not read any more.
    const budget = { entries: 13 * 512, leaves: 1000 };

    const { report } = collectWalk(tables, covered, budget);

    expect(report.cutAt).toBe(10 * 512);
  });

  it('are cut where nothing was looked at yet when the range begins within a table', () => {
    const { tables, covered } = multiplied();

    const { report } = collectWalk(tables, { start: 700, end: covered.end }, { entries: 2000, leaves: 1000 });

    // 512 entries each of root, third and, from entry 1 on, second table; of the first 324 from page 700 on.
    expect(report.cutAt).toBe(1024);
  });

  it('are cut by the budget that holds when nobody says otherwise', () => {
    const { tables, covered } = multiplied();
    const report = new WalkReport();

    const finished = walkRadix(tables, covered, () => true, report);

    expect(finished).toBe(false);
    expect(report.entries).toBeLessThanOrEqual(DEFAULT_WALK_BUDGET.entries + 512);
  });

  it.each([
    ['tables', P, 512],
    ['leaves of sixteen entries', P | PS | CONT, 16 * 512],
  ])('are cut by the budget of leaves where they lead to %s without access', (_what, entry, pages) => {
    const { tables, covered } = tableWorld(3);
    const second = tables.allocateTable();
    fill(tables, tables.root, second);
    for (let i = 0; i < 512; i++) tables.setEntry(second, i, entry);

    const { leaves, report } = collectWalk(tables, covered, { entries: 2 ** 28, leaves: 1000 });

    expect(leaves).toEqual([]);
    expect(report.cutAt).toBe(1000 * pages);
  });

  it('share one budget over the walks of one report', () => {
    const { tables, covered } = multiplied();
    const report = new WalkReport({ entries: 10_000, leaves: 1000 });
    walkRadix(tables, { start: 0, end: 512 * 5 }, () => true, report);
    const before = report.entries;

    const finished = walkRadix(tables, covered, () => true, report);

    expect(before).toBeLessThan(10_000);
    expect(finished).toBe(false);
    expect(report.entries).toBeLessThanOrEqual(10_000 + 512);
  });
});

describe('tables that point at themselves', () => {
  it('are cut by the budget of leaves, at the first that is not visited', () => {
    const { tables, covered } = selfReferring();

    const { leaves, report, finished } = collectWalk(tables, covered, { entries: 2 ** 28, leaves: 1000 });

    expect(leaves).toHaveLength(1000);
    expect(report.leaves).toBe(1000);
    expect(report.cutAt).toBe(1000);
    expect(finished).toBe(false);
  });

  it('are walked to the end where the range is small', () => {
    const { tables } = selfReferring();

    const { leaves, report, finished } = collectWalk(tables, { start: 510, end: 514 });

    expect(leaves.map(({ iova }) => iova)).toEqual([510, 511, 512, 513]);
    expect(report.entries).toBe(1 + 1 + 2 + 2 + 2);
    expect(finished).toBe(true);
  });

  it('end a translation after as many steps as there are levels', () => {
    const { tables } = selfReferring();
    let steps = 0;

    const found = translateRadix(tables, 12345, () => steps++);

    expect(steps).toBe(4);
    expect(found.kind).toBe('leaf');
  });
});

describe('a budget', () => {
  it('of exactly what a walk costs does not cut it', () => {
    const { tables, covered } = tableWorld(3);
    for (let i = 0; i < 5; i++) tables.map(i, i, 3);

    const { leaves, report, finished } = collectWalk(tables, covered, { entries: 3 * 512, leaves: 5 });

    expect(leaves).toHaveLength(5);
    expect(report.cutAt).toBeUndefined();
    expect(finished).toBe(true);
  });

  it.each([
    [{ entries: 3 * 512 - 1, leaves: 5 }, 0, 0],
    [{ entries: 3 * 512, leaves: 4 }, 4, 4],
  ])('of one less cuts it: %o', (budget, visited, cutAt) => {
    const { tables, covered } = tableWorld(3);
    for (let i = 0; i < 5; i++) tables.map(i, i, 3);

    const { leaves, report } = collectWalk(tables, covered, budget);

    expect(leaves).toHaveLength(visited);
    expect(report.cutAt).toBe(cutAt);
  });

  it('of leaves counts large ones too', () => {
    const { tables, covered } = tableWorld(3);
    for (let i = 0; i < 5; i++) tables.mapContiguous(i * 16 * spanOf(2), 0, 3, 2);

    const { leaves, report } = collectWalk(tables, covered, { entries: 2 ** 20, leaves: 3 });

    expect(leaves).toHaveLength(3);
    expect(report.cutAt).toBe(3 * 16 * spanOf(2));
  });
});

describe('tables full of faults', () => {
  it('are cut when as many were met as leaves may be visited', () => {
    const { tables, covered } = tableWorld(2);
    const table = tables.tableAt(0, 1);
    for (let i = 0; i < 512; i++) tables.setEntry(table, i, P | PS);

    const { report, finished } = collectWalk(tables, covered, { entries: 2 ** 20, leaves: 100 });

    expect(finished).toBe(false);
    expect(report.faultCount).toBe(101);
    expect(report.cutAt).toBe(100);
  });

  it('are cut also where whole tables are missing', () => {
    const { tables, covered } = tableWorld(2);
    fill(tables, tables.root, 0x5000);

    const { report, finished } = collectWalk(tables, covered, { entries: 2 ** 20, leaves: 100 });

    expect(finished).toBe(false);
    expect(report.cutAt).toBe(100 * 512);
  });
});

describe('a root outside RAM', () => {
  const { tables } = tableWorld(4);
  const { format, memory, levels, base } = tables;

  it.each([0, 0xfff, 0x2000, 2 ** 40 - 1])('at page %d is a fault and nothing is read', (root) => {
    const { leaves, report } = collectWalk({ format, memory, levels, base, root }, ALL_PAGES);

    expect(leaves).toEqual([]);
    expect(report.faultCount).toBe(1);
    expect(report.entries).toBe(0);
  });
});
