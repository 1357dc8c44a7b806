import { describe, expect, it } from 'vitest';
import { ALL_PAGES, PAGES_END } from '../../src/memory/index.ts';
import { plugged, regionWorld } from '../support/region-world.ts';

describe('an invalidation', () => {
  it('of something that did not change sends nothing and reads each entry once', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 1000; i++) tables.map(i * 7, i, 3);
    const sink = plugged(region);
    region.entriesRead = 0;

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual([]);
    // The two edges are looked at for what reaches over them: a page each, so at most an entry a level.
    expect(region.entriesRead).toBeLessThanOrEqual(tables.tables * 512 + 2 * tables.levels);
  });

  it('of one page reads an entry a level for the page and its edges', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 1000; i++) tables.map(i * 7, i, 3);
    plugged(region);
    region.entriesRead = 0;

    region.invalidate({ start: 7, end: 8 });

    expect(region.entriesRead).toBeLessThanOrEqual(3 * tables.levels);
  });

  it('touches nothing outside its range', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 10; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    for (let i = 0; i < 10; i++) tables.clear(i);

    region.invalidate({ start: 4, end: 6 });

    expect(sink.log).toEqual(['unmap 4+1', 'unmap 5+1']);
  });

  it('that is empty does nothing', () => {
    const { region, tables } = regionWorld();
    tables.map(4, 4, 3);
    const sink = plugged(region);
    tables.clear(4);

    region.invalidate({ start: 4, end: 4 });

    expect(sink.log).toEqual([]);
  });

  it('within a leaf that is gone removes the whole of it', () => {
    const { region, tables } = regionWorld();
    tables.map(512, 512, 3, 2);
    const sink = plugged(region);
    tables.clear(512, 2);

    region.invalidate({ start: 700, end: 701 });

    expect(sink.log).toEqual(['unmap 512+512']);
  });

  it('of one page of a large leaf that became a table removes the other pages, too', () => {
    const { region, tables } = regionWorld();
    tables.map(512, 512, 3, 2);
    const sink = plugged(region);
    tables.clear(512, 2);
    tables.map(520, 99, 3);

    region.invalidate({ start: 520, end: 521 });

    expect(sink.list).toEqual(['520+1>99 rw']);
    expect(sink.log).toEqual(['unmap 512+512', 'map 520+1']);
  });

  it('of one page of a table that became a large leaf maps all of the leaf', () => {
    const { region, tables } = regionWorld();
    for (const page of [512, 700, 1023]) tables.map(page, page, 3);
    const sink = plugged(region);
    tables.map(512, 2048, 3, 2);

    region.invalidate({ start: 700, end: 701 });

    expect(sink.log).toEqual(['unmap 512+1', 'unmap 700+1', 'unmap 1023+1', 'map 512+512']);
  });

  it('replaces a 1 GiB leaf by the 2 MiB leaves that it was split into', () => {
    const { region, tables } = regionWorld();
    tables.map(0, 0, 3, 3);
    const sink = plugged(region);
    for (let i = 0; i < 512; i++) tables.map(i * 512, i * 512, 3, 2);

    region.invalidate({ start: 5, end: 6 });

    expect(sink.held).toHaveLength(512);
    expect(sink.log).toHaveLength(513);
    expect(sink.violations).toEqual([]);
  });

  it.each([
    ['permissions', 5, 1],
    ['target', 6, 3],
  ])('tells of a change of %s as an unmap and a map', (_what, target, access) => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    const sink = plugged(region);
    tables.map(5, target, access);

    region.invalidate({ start: 5, end: 6 });

    expect(sink.log).toEqual(['unmap 5+1', 'map 5+1']);
  });

  it('up to 2^64 follows the last page', () => {
    const { region, tables } = regionWorld({ levels: 4, top: true });
    tables.map(PAGES_END - 1, 7, 3);
    const sink = plugged(region);
    tables.map(PAGES_END - 1, 8, 3);

    region.invalidate({ start: PAGES_END - 1, end: PAGES_END });

    expect(sink.list).toEqual([`${PAGES_END - 1}+1>8 rw`]);
  });

  it('heals what an invalidation that was too narrow left behind', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 4; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    for (let i = 0; i < 4; i++) tables.map(i, i + 10, 3);
    region.invalidate({ start: 1, end: 2 });

    region.invalidate(ALL_PAGES);

    expect(sink.list).toEqual(['0+1>10 rw', '1+1>11 rw', '2+1>12 rw', '3+1>13 rw']);
  });
});

describe('a domain switch', () => {
  it('unmaps everything before it maps anything, so that a full sink has room', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    for (let i = 0; i < 1000; i++) {
      tables.map(i * 3, i, 3);
      other.map(i * 3 + 1, i, 3);
    }
    const sink = plugged(region);
    sink.capacity = 1000;
    region.tables.set(0, other);

    region.invalidate(ALL_PAGES);

    expect(sink.peak).toBe(1000);
    expect(sink.held.map(({ iova }) => iova)).toEqual(Array.from({ length: 1000 }, (_, i) => i * 3 + 1));
    expect(sink.incompletes).toEqual([]);
  });

  it('leaves alone what both domains map in the same way', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    for (let i = 0; i < 10; i++) {
      tables.map(i, i, 3);
      other.map(i, i === 4 ? 99 : i, 3);
    }
    const sink = plugged(region);
    region.tables.set(0, other);

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual(['unmap 4+1', 'map 4+1']);
  });

  it('to no table unmaps everything', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 10; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    region.tables.delete(0);

    region.invalidate(ALL_PAGES);

    expect(sink.held).toEqual([]);
    expect(sink.log).toHaveLength(10);
  });
});
