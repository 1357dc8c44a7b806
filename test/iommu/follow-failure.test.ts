import { describe, expect, it } from 'vitest';
import { ALL_PAGES } from '../../src/memory/index.ts';
import { plugged, regionWorld } from '../support/region-world.ts';

describe('the walk budget of a change', () => {
  it('is for each walk: what fits at plug time fits later, too', () => {
    const { region, tables } = regionWorld({ budget: { entries: 2 ** 20, leaves: 600 } });
    for (let i = 0; i < 500; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    tables.map(3, 99, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.incompletes).toEqual([]);
    expect(sink.held[3].target).toBe(99);
  });

  it('that is used up is reported, and what was told stays exact', () => {
    const { region, tables } = regionWorld({ budget: { entries: 2 ** 20, leaves: 20 } });
    for (let i = 0; i < 10; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    for (let i = 10; i < 40; i++) tables.map(i, i, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.incompletes.map(({ kind }) => kind)).toEqual(['walk-cut']);
    expect(sink.violations).toEqual([]);
    expect(region.ledgerOf(sink)!.size).toBe(sink.held.length);
  });
});

describe('a sink that cannot follow', () => {
  it('is told that its refusal left the change incomplete, and stays registered', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.capacity = 0;
    tables.map(5, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.incompletes).toEqual([
      { kind: 'refused', mapping: { iova: 5, pages: 1, target: 6, access: 3 } },
    ]);
    expect(region.notifiers).toEqual([sink]);
  });

  it('has heard of every unmap of a change before it could refuse a map', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 10; i++) tables.map(i * 2, i, 3);
    const sink = plugged(region);
    sink.capacity = 0;
    for (let i = 0; i < 10; i++) tables.clear(i * 2);
    tables.map(1, 1, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.held).toEqual([]);
  });

  it('is healed by the next invalidation when it can take mappings again', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.capacity = 1;
    for (let i = 0; i < 4; i++) tables.map(i, i, 3);
    region.invalidate(ALL_PAGES);
    sink.capacity = Infinity;

    region.invalidate(ALL_PAGES);

    expect(sink.held).toHaveLength(4);
  });

  it('because it throws does not keep the others from following', () => {
    const { region, tables } = regionWorld();
    const [broken, sound] = [plugged(region), plugged(region)];
    broken.hook = () => {
      throw new Error('the host is gone');
    };
    tables.map(5, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(sound.list).toEqual(['5+1>6 rw']);
    expect(broken.incompletes.map(({ kind }) => kind)).toEqual(['sink-failed']);
  });

  it('because the model cannot serve it any more is told so, and nothing else', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 1, 3);
    const sink = plugged(region);
    region.remedy = 'the guest uses first-stage tables';
    tables.map(5, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.incompletes).toEqual([{ kind: 'unsupported', remedy: 'the guest uses first-stage tables' }]);
    expect(sink.log).toEqual([]);
  });
});
