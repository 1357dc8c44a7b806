import { describe, expect, it } from 'vitest';
import { Access, PAGES_END } from '../../../src/memory/index.ts';
import { FIRST_STAGE_TABLES_AT, nestedWorld } from './nested-world.ts';
import { leafText, translated, walked } from './observe.ts';

const USER_RW = 0b111n;
const RW = 0b11n;

describe('nested translation (VT-d 3.8)', () => {
  it.each([
    { first: 1, second: 1, pages: 1 },
    { first: 1, second: 2, pages: 1 },
    { first: 1, second: 3, pages: 1 },
    { first: 2, second: 2, pages: 0x200 },
    { first: 2, second: 3, pages: 0x200 },
    { first: 3, second: 3, pages: 0x40000 },
  ])('gives a first-stage leaf of level $first over a second-stage one of level $second as one', (sizes) => {
    const world = nestedWorld();
    world.first.map(0xc0000, sizes.first, 0x40000, USER_RW);
    world.second.map(0x40000, sizes.second, 0x100000, RW);
    const leaf = leafText(0xc0000, sizes.pages, 0x100000, 3);

    expect(walked(world.region).leaves).toEqual([leaf]);
    expect(translated(world.region, 0xc0000 + sizes.pages - 1, Access.Write)).toBe(leaf);
  });

  it('gives a part of a larger second-stage leaf where the first stage names a part', () => {
    const world = nestedWorld();
    world.first.map(0xc0000, 2, 0x40600, USER_RW);
    world.first.map(0xc0201, 1, 0x40011, USER_RW);
    world.second.map(0x40000, 3, 0x100000, RW);
    const leaves = [leafText(0xc0000, 0x200, 0x100600, 3), leafText(0xc0201, 1, 0x100011, 3)];

    expect(walked(world.region).leaves).toEqual(leaves);
    expect(translated(world.region, 0xc01ff)).toBe(leaves[0]);
    expect(translated(world.region, 0xc0201)).toBe(leaves[1]);
  });

  it('gives a first-stage leaf in the pieces that the second stage makes of it, holes left out', () => {
    const world = nestedWorld();
    world.first.map(0x400, 2, 0x40000, USER_RW);
    for (let i = 0; i < 0x200; i++) {
      if (i !== 7) world.second.map(0x40000 + i, 1, 0x8000 + 2 * i, RW);
    }
    const pieces = Array.from({ length: 0x200 }, (_, i) => leafText(0x400 + i, 1, 0x8000 + 2 * i, 3));

    expect(walked(world.region).leaves).toEqual(pieces.filter((_, i) => i !== 7));
    expect(translated(world.region, 0x406)).toBe(pieces[6]);
    expect(translated(world.region, 0x407)).toBe('-');
    expect(translated(world.region, 0x407, Access.Read)).toBe('SSS.2');
    expect(translated(world.region, 0x408)).toBe(pieces[8]);
  });

  it('combines the rights of both stages', () => {
    const world = nestedWorld();
    const firstRights = [0b101n, 0b111n];
    const secondRights = [0b01n, 0b10n, 0b11n];
    const seen: string[] = [];
    for (const [i, one] of firstRights.entries()) {
      for (const [j, two] of secondRights.entries()) {
        const page = 0x400 + i * 3 + j;
        world.first.map(page, 1, 0x40000 + page, one);
        world.second.map(0x40000 + page, 1, 0x8000 + page, two);
        seen.push(
          [Access.Read, Access.Write]
            .map((access) => translated(world.region, page, access).split(' ').at(-1))
            .join(),
        );
      }
    }

    expect(seen).toEqual(['r,SGN.6', 'SGN.7,SGN.6', 'r,SGN.6', 'r,SGN.6', 'SGN.7,w', 'rw,rw']);
    expect(walked(world.region).leaves.map((leaf) => leaf.split(' ')[1])).toEqual(['r', 'r', 'r', 'w', 'rw']);
  });

  it('reads first-stage tables through the second stage', () => {
    const world = nestedWorld();
    world.first.map(0x400, 1, 0x40000, USER_RW);
    world.second.map(0x40000, 1, 0x8000, RW);

    expect(world.first.pageOf(FIRST_STAGE_TABLES_AT)).not.toBe(FIRST_STAGE_TABLES_AT);
    expect(walked(world.region).leaves).toEqual([leafText(0x400, 1, 0x8000, 3)]);
  });

  it('works in the upper canonical half, up to 2^64', () => {
    const world = nestedWorld({ firstLevels: 5, secondLevels: 5 });
    world.first.map(PAGES_END - 0x200, 2, 0x40000, USER_RW);
    world.second.map(0x401ff, 1, 0x8000, RW);
    const leaf = leafText(PAGES_END - 1, 1, 0x8000, 3);

    expect(walked(world.region).leaves).toEqual([leaf]);
    expect(translated(world.region, PAGES_END - 1, Access.Write)).toBe(leaf);
  });

  it('leaves addresses in first-stage entries to the second stage, host address width or not', () => {
    const world = nestedWorld({ haw: 39, secondLevels: 4 });
    const middle = 2 ** 36 - 1;
    world.first.map(0x400, 1, middle, USER_RW);
    world.second.map(middle, 1, 0x8000, RW);

    expect(translated(world.region, 0x400, Access.Read)).toBe(leafText(0x400, 1, 0x8000, 3));
  });
});

describe('a walk of nested tables', () => {
  it('shows only the pieces that overlap the range, whole', () => {
    const world = nestedWorld();
    world.first.map(0x400, 2, 0x40000, USER_RW);
    for (let i = 0; i < 0x200; i++) world.second.map(0x40000 + i, 1, 0x8000 + i, RW);
    const piece = leafText(0x444, 1, 0x8044, 3);

    const { leaves, report } = walked(world.region, { start: 0x444, end: 0x445 });

    expect(leaves).toEqual([piece]);
    // Entries of the way to one page: three levels to a 2 MiB leaf, four levels of the second stage.
    expect(report.entries).toBe(7);
  });

  it('names faults of the second stage by the pages of the device that they hide', () => {
    const world = nestedWorld();
    world.first.map(0x400, 2, 0x40000, USER_RW);
    world.first.map(0x600, 2, 0x60000, USER_RW);
    world.second.map(0x40000, 2, 0x8000, RW | (1n << 62n));
    world.second.map(0x60000, 1, 0x8000, RW);
    world.second.map(0x60001, 1, 0x8001, RW | (1n << 62n));

    const { leaves, faults, report } = walked(world.region);

    expect(leaves).toEqual([leafText(0x600, 1, 0x8000, 3)]);
    expect(faults).toEqual(['400+200 SSS.3', '601+1 SSS.3']);
    expect(report.faultCount).toBe(2);
  });

  it('names a table that the second stage hides by its reason', () => {
    const world = nestedWorld();
    world.first.map(0x400, 1, 0x40000, USER_RW);
    world.second.setBits(world.first.tableAt(0x400, 1), 1, 0b10n, RW);

    expect(walked(world.region).faults).toEqual(['400+200 SFS.7']);
  });

  it('that the budget cuts names the page of the device at which it was cut', () => {
    const world = nestedWorld();
    world.first.map(0x400, 2, 0x40000, USER_RW);
    for (let i = 0; i < 0x200; i++) world.second.map(0x40000 + i, 1, 0x8000 + i, RW);

    // The first-stage leaf counts too.
    const { leaves, report } = walked(world.region, undefined, { budget: { entries: 100_000, leaves: 17 } });

    expect(leaves).toHaveLength(16);
    expect(report.cutAt).toBe(0x410);
  });
});
