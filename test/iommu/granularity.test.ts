import { describe, expect, it } from 'vitest';
import { plugged, regionWorld } from '../support/region-world.ts';
import { StrictSink } from '../support/strict-sink.ts';

describe('granularity', () => {
  it.each([0n, 1n, 2048n, -4096n, 4097n, 12288n, 1n << 64n])('of %d bytes is refused', (granularity) => {
    const { region } = regionWorld();
    const sink = new StrictSink();

    expect(() => region.registerNotifierReplay(sink, granularity, false)).toThrow(RangeError);
    expect(region.notifiers).toEqual([]);
  });

  it.each([4096n, 1n << 16n, 1n << 63n])('of %d bytes is taken', (granularity) => {
    const { region } = regionWorld();

    expect(region.registerNotifierReplay(new StrictSink(), granularity, false).mappings).toBe(0);
  });

  it('coarser than the leaves does not hide them', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    tables.map(8, 99, 1);

    expect(plugged(region, { granule: 16 }).list).toEqual(['5+1>5 rw', '8+1>99 r']);
  });

  it('puts sixteen leaves of one aligned 64 KiB run into one mapping', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 16; i++) tables.map(32 + i, 160 + i, 3);

    expect(plugged(region, { granule: 16 }).list).toEqual(['32+16>160 rw']);
  });

  it('leaves a run alone whose target is not aligned', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 16; i++) tables.map(32 + i, 161 + i, 3);

    expect(plugged(region, { granule: 16 }).held).toHaveLength(16);
  });

  it('finer than the leaves does not split them', () => {
    const { region, tables } = regionWorld();
    tables.map(512, 512, 3, 2);

    expect(plugged(region, { granule: 16 }).list).toEqual(['512+512>512 rw']);
  });

  it('keeps to whole granules when one page of a run goes', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 16; i++) tables.map(32 + i, 160 + i, 3);
    const sink = plugged(region, { granule: 16 });

    tables.clear(40);
    region.invalidate({ start: 40, end: 41 });

    expect(sink.held).toHaveLength(15);
    expect(sink.takeLog()[0]).toBe('unmap 32+16');
  });

  it('puts a run together when its last page comes', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 15; i++) tables.map(32 + i, 160 + i, 3);
    const sink = plugged(region, { granule: 16 });

    tables.map(47, 175, 3);
    region.invalidate({ start: 47, end: 48 });

    expect(sink.list).toEqual(['32+16>160 rw']);
    expect(sink.violations).toEqual([]);
  });

  it('sends nothing for an unchanged run', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 16; i++) tables.map(32 + i, 160 + i, 3);
    const sink = plugged(region, { granule: 16 });

    region.invalidate({ start: 40, end: 41 });

    expect(sink.log).toEqual([]);
  });
});
