import { describe, expect, it } from 'vitest';
import { ALL_PAGES, PAGES_END } from '../../src/memory/index.ts';
import { plugged, regionWorld } from '../support/region-world.ts';
import { StrictSink } from '../support/strict-sink.ts';
import { spanOf } from '../support/table-writer.ts';
import { P, PS } from '../support/test-format.ts';

describe('register with replay', () => {
  it('tells what exists, ascending, each leaf once and at its own size', () => {
    const { region, tables } = regionWorld();
    tables.map(0x40000, 0x40000, 3, 3);
    tables.map(0x400, 0x800, 1, 2);
    tables.map(0x10, 0x77, 2);
    const sink = new StrictSink();

    const report = region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual(['16+1>119 w', '1024+512>2048 r', '262144+262144>262144 rw']);
    expect(sink.log).toEqual(['map 16+1', 'map 1024+512', 'map 262144+262144']);
    expect(report.mappings).toBe(3);
  });

  it('reads each entry once', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 1000; i++) tables.map(i * 7, i, 3);

    const { walk } = region.registerNotifierReplay(new StrictSink(), 4096n, false);

    expect(walk.entries).toBe(tables.tables * 512);
  });

  it('costs what is present when one mapping lies in 2^64 bytes', () => {
    const { region, tables } = regionWorld({ levels: 5, top: true });
    tables.map(PAGES_END - 1, 5, 3);
    const sink = new StrictSink();

    const { walk } = region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual([`${PAGES_END - 1}+1>5 rw`]);
    expect(walk.entries).toBe(5 * 512);
  });

  it('does not disturb what other notifiers hold', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 1, 3);
    const first = plugged(region);
    tables.map(2, 2, 3);

    const second = plugged(region);

    expect(first.log).toEqual([]);
    expect(second.list).toEqual(['1+1>1 rw', '2+1>2 rw']);
  });

  it('reports the faults that hide parts of the tables', () => {
    const { region, tables } = regionWorld();
    tables.setEntry(tables.root, 3, P | PS);

    const { walk } = region.registerNotifierReplay(new StrictSink(), 4096n, false);

    expect(walk.faults.map(({ iova, pages }) => [iova, pages])).toEqual([[3 * spanOf(4), spanOf(4)]]);
  });

  it('of an empty range registers and tells nothing', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    const sink = plugged(region, { range: { start: 5, end: 5 } });

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual([]);
    expect(region.notifiers).toEqual([sink]);
  });

  it('follows from then on', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);

    tables.map(0x10, 0x78, 3);
    region.invalidate({ start: 0x10, end: 0x11 });

    expect(sink.list).toEqual(['16+1>120 rw']);
  });
});

describe('the range of a replay', () => {
  it('leaves out what lies beside it', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 10; i++) tables.map(i, i, 3);

    expect(plugged(region, { range: { start: 3, end: 5 } }).list).toEqual(['3+1>3 rw', '4+1>4 rw']);
  });

  it('crops a leaf at both ends with its target moved along', () => {
    const { region, tables } = regionWorld();
    tables.map(512, 1024, 3, 2);

    expect(plugged(region, { range: { start: 600, end: 700 } }).list).toEqual(['600+100>1112 rw']);
  });

  it('crops a leaf on each side of a hole between two notifiers', () => {
    const { region, tables } = regionWorld();
    tables.map(0x40000, 0, 3, 3);

    const below = plugged(region, { range: { start: 0, end: 0x50000 } });
    const above = plugged(region, { range: { start: 0x50100, end: PAGES_END } });

    expect(below.held).toEqual([{ iova: 0x40000, pages: 0x10000, target: 0, access: 3, ram: true }]);
    expect(above.held).toEqual([{ iova: 0x50100, pages: 0x2ff00, target: 0x10100, access: 3, ram: true }]);
  });

  it('may end at 2^64', () => {
    const { region, tables } = regionWorld({ levels: 4, top: true });
    tables.map(PAGES_END - 512, 1024, 3, 2);

    const sink = plugged(region, { range: { start: PAGES_END - 2, end: PAGES_END } });

    expect(sink.list).toEqual([`${PAGES_END - 2}+2>1534 rw`]);
  });

  it('beyond the region has nothing', () => {
    const { region, tables } = regionWorld({ levels: 3 });
    tables.map(0, 0, 3);

    const sink = plugged(region, { range: { start: 512 ** 3, end: PAGES_END } });

    expect(sink.list).toEqual([]);
  });
});
