import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AliasRegion,
  ContainerRegion,
  FlatView,
  type MemoryRegion,
  PageCursor,
  PAGES_END,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';
import { buildTree, lookUp, nodeSpecs } from '../reference/naive-tree.ts';

const ram = (name: string, pages: number): RamRegion => new RamRegion(name, new SparseRamBlock(pages));

/** Sections as `start-end name@offset`. */
function sections(root: MemoryRegion): string[] {
  return new FlatView(root).sections.map(
    ({ start, end, region, offset }) => `${start}-${end} ${region.name}@${offset}`,
  );
}

/** A container of 100 pages with what is to be placed in it. */
function container(...children: readonly (readonly [MemoryRegion, number, number?])[]): ContainerRegion {
  const root = new ContainerRegion('root', 100);
  for (const [region, start, priority] of children) root.add(region, start, priority);
  return root;
}

describe('a flat view', () => {
  it('of a container without regions is empty', () => {
    expect(sections(container())).toEqual([]);
  });

  it('of one region is that region', () => {
    expect(sections(ram('a', 7))).toEqual(['0-7 a@0']);
  });

  it('leaves holes where nothing lies', () => {
    expect(sections(container([ram('a', 2), 10], [ram('b', 2), 20]))).toEqual(['10-12 a@0', '20-22 b@0']);
  });

  it('shows the higher priority, and on both sides what it hides', () => {
    expect(sections(container([ram('a', 10), 0], [ram('b', 2), 4, 1]))).toEqual([
      '0-4 a@0',
      '4-6 b@0',
      '6-10 a@6',
    ]);
  });

  it('shows the region added last among equals', () => {
    expect(sections(container([ram('a', 4), 0], [ram('b', 4), 2]))).toEqual(['0-2 a@0', '2-6 b@0']);
  });

  it('shows nothing of a region that others cover together', () => {
    const root = container([ram('a', 4), 0, -1], [ram('b', 2), 0], [ram('c', 2), 2]);

    expect(sections(root)).toEqual(['0-2 b@0', '2-4 c@0']);
  });

  it('clips a region at the end of its container', () => {
    expect(sections(container([ram('a', 10), 95]))).toEqual(['95-100 a@0']);
  });

  it('clips at every container on the way', () => {
    const inner = new ContainerRegion('inner', 5);
    inner.add(ram('a', 10), 3);

    expect(sections(container([inner, 50]))).toEqual(['53-55 a@0']);
  });

  it('keeps a priority within its container', () => {
    const inner = new ContainerRegion('inner', 10);
    inner.add(ram('a', 10), 0, 99);

    expect(sections(container([inner, 0], [ram('b', 2), 0, 1]))).toEqual(['0-2 b@0', '2-10 a@2']);
  });

  it('shows the pages of an alias from its offset on', () => {
    const target = ram('a', 10);

    expect(sections(container([new AliasRegion('alias', target, 4, 3), 20]))).toEqual(['20-23 a@4']);
  });

  it('shows only the part of a container that an alias is of', () => {
    const target = new ContainerRegion('target', 20);
    target.add(ram('a', 4), 2);
    target.add(ram('b', 4), 10);

    expect(sections(container([new AliasRegion('alias', target, 4, 8), 50]))).toEqual([
      '50-52 a@2',
      '56-58 b@0',
    ]);
  });

  it('shows a region twice through an alias of what holds it', () => {
    const inner = new ContainerRegion('inner', 10);
    inner.add(ram('a', 2), 0);

    expect(sections(container([inner, 0], [new AliasRegion('alias', inner, 0, 10), 50]))).toEqual([
      '0-2 a@0',
      '50-52 a@0',
    ]);
  });

  it('joins neighbours that continue one region', () => {
    const target = ram('a', 10);
    const halves: [MemoryRegion, number][] = [
      [new AliasRegion('low', target, 0, 4), 0],
      [new AliasRegion('high', target, 4, 6), 4],
    ];

    expect(sections(container(...halves))).toEqual(['0-10 a@0']);
  });

  it('joins neighbours that continue one region in the middle of both', () => {
    const target = ram('a', 10);
    const parts: [MemoryRegion, number][] = [
      [new AliasRegion('low', target, 3, 2), 50],
      [new AliasRegion('high', target, 5, 2), 52],
    ];

    expect(sections(container(...parts))).toEqual(['50-54 a@3']);
  });

  it('keeps neighbours apart that repeat one region', () => {
    const target = ram('a', 4);
    const halves: [MemoryRegion, number][] = [
      [new AliasRegion('one', target, 0, 4), 0],
      [new AliasRegion('two', target, 0, 4), 4],
    ];

    expect(sections(container(...halves))).toEqual(['0-4 a@0', '4-8 a@0']);
  });

  it('leaves out a disabled region and shows what it hid', () => {
    const over = ram('b', 2);
    const root = container([ram('a', 4), 0], [over, 0, 1]);

    over.setEnabled(false);

    expect(sections(root)).toEqual(['0-4 a@0']);
  });

  it('leaves out all below a disabled container, also behind an alias', () => {
    const inner = new ContainerRegion('inner', 10);
    inner.add(ram('a', 2), 0);
    inner.setEnabled(false);

    expect(sections(container([inner, 0], [new AliasRegion('alias', inner, 0, 10), 50]))).toEqual([]);
  });

  it('reaches up to 2^64', () => {
    const root = new ContainerRegion('root', PAGES_END);
    root.add(ram('a', 4), PAGES_END - 2);

    expect(sections(root)).toEqual([`${PAGES_END - 2}-${PAGES_END} a@0`]);
  });
});

describe('looking into a flat view', () => {
  const over = ram('b', 2);
  const rom = new RamRegion('rom', new SparseRamBlock(2), { readonly: true });
  const view = new FlatView(container([ram('a', 10), 10], [over, 14, 1], [rom, 30]));

  it.each([
    [9, undefined],
    [10, 'a'],
    [13, 'a'],
    [14, 'b'],
    [16, 'a'],
    [19, 'a'],
    [20, undefined],
    [31, 'rom'],
    [99, undefined],
  ])('page %d is of %s', (page, name) => {
    expect(view.find(page)?.region.name).toBe(name);
  });

  it.each([
    [{ start: 0, end: 10 }, []],
    [{ start: 13, end: 15 }, ['a', 'b']],
    [{ start: 0, end: 100 }, ['a', 'b', 'a', 'rom']],
    [{ start: 14, end: 14 }, []],
    [{ start: 20, end: 30 }, []],
  ])('%o overlaps %o', (range, names) => {
    expect([...view.overlapping(range)].map(({ region }) => region.name)).toEqual(names);
  });

  it('finds a page of RAM behind what hides its neighbours', () => {
    const cursor = new PageCursor();
    over.block.locate(1, cursor, true);
    cursor.words[cursor.base] = 55;
    const found = new PageCursor();

    expect(view.locate(15, found, false)).toBe(true);
    expect(found.words[found.base]).toBe(55);
  });

  it('finds a page of RAM behind an overlay where it is in its block', () => {
    const split = ram('split', 10);
    const cursor = new PageCursor();
    split.block.locate(7, cursor, true);
    cursor.words[cursor.base] = 66;
    const found = new PageCursor();

    new FlatView(container([split, 10], [ram('b', 2), 14, 1])).locate(17, found, false);

    expect(found.words[found.base]).toBe(66);
  });

  it('finds no RAM in a hole', () => {
    expect(view.locate(25, new PageCursor(), false)).toBe(false);
  });

  it('finds ROM for reading only', () => {
    const found = [false, true].map((forWrite) => view.locate(30, new PageCursor(), forWrite));

    expect(found).toEqual([true, false]);
  });
});

describe('a flat view against a search of the tree page by page', () => {
  it('agrees on every page of random trees', () => {
    fc.assert(
      fc.property(nodeSpecs, (specs) => {
        const { root, naive } = buildTree(specs);
        const view = new FlatView(root);

        for (let page = 0; page < root.pages + 4; page++) {
          const section = view.find(page);
          const shown = section && { region: section.region, page: page - section.start + section.offset };
          expect(shown).toEqual(lookUp(naive, page));
        }
      }),
      { numRuns: 400 },
    );
  });

  it('has disjoint, ascending sections that are as long as can be', () => {
    fc.assert(
      fc.property(nodeSpecs, (specs) => {
        const list = new FlatView(buildTree(specs).root).sections;

        for (const [i, section] of list.entries()) {
          expect(section.end).toBeGreaterThan(section.start);
          const next = list[i + 1];
          if (next === undefined) continue;
          expect(next.start).toBeGreaterThanOrEqual(section.end);
          const continues =
            next.start === section.end &&
            next.region === section.region &&
            next.offset === section.offset + section.end - section.start;
          expect(continues).toBe(false);
        }
      }),
      { numRuns: 200 },
    );
  });
});
