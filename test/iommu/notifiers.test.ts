import { describe, expect, it } from 'vitest';
import { describeIncomplete, type Incomplete, NotifierRefusedError } from '../../src/iommu/index.ts';
import { ALL_PAGES } from '../../src/memory/index.ts';
import { Hearer } from '../support/hearer.ts';
import { plugged, regionWorld } from '../support/region-world.ts';
import { StrictSink } from '../support/strict-sink.ts';

describe('registering', () => {
  it('without replay tells nothing of what exists', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    const sink = new StrictSink();

    region.registerNotifier(sink);

    expect(sink.log).toEqual([]);
    expect(region.notifiers).toEqual([sink]);
  });

  it('without replay is made up for where something is invalidated', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    tables.map(6, 6, 3);
    const sink = new StrictSink();
    region.registerNotifier(sink);

    region.invalidate({ start: 5, end: 6 });

    expect(sink.list).toEqual(['5+1>5 rw']);
  });

  it('without replay follows mappings that are read-only, too', () => {
    const { region, tables } = regionWorld();
    const sink = new StrictSink();
    region.registerNotifier(sink);
    tables.map(5, 5, 1);

    region.invalidate(ALL_PAGES);

    expect(sink.list).toEqual(['5+1>5 r']);
  });

  it('twice is refused', () => {
    const { region } = regionWorld();
    const sink = new StrictSink();
    region.registerNotifier(sink);

    expect(() => region.registerNotifier(sink)).toThrow(/registered with test-iommu already/);
    expect(region.notifiers).toEqual([sink]);
  });

  it('is refused by the model with the remedy, and leaves nothing', () => {
    const { region, space } = regionWorld();
    region.remedy = 'turn caching mode on';
    let thrown: unknown;

    try {
      region.registerNotifier(new StrictSink());
    } catch (error) {
      thrown = error;
    }

    expect(thrown).toBeInstanceOf(NotifierRefusedError);
    expect(thrown).toMatchObject({
      code: 'VIOMMU_NOTIFIER_REFUSED',
      message: 'test-iommu: turn caching mode on',
    });
    expect(region.notifiers).toEqual([]);
    expect(() => space.dispose()).not.toThrow();
  });

  it('gives a shadow a ledger, and no one else', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    const sink = plugged(region);
    const cache = new Hearer('unmap');
    region.registerNotifier(cache);

    expect([...region.ledgerOf(sink)!.mappings()]).toEqual([{ iova: 5, pages: 1, target: 5, flags: 3 }]);
    expect(region.ledgerOf(cache)).toBeUndefined();
  });
});

describe('unregistering', () => {
  it('tells a shadow that everything is gone, mapping by mapping', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    tables.map(512, 512, 3, 2);
    const sink = plugged(region);

    region.unregisterNotifier(sink);

    expect(sink.log).toEqual(['unmap 5+1', 'unmap 512+512']);
    expect(sink.violations).toEqual([]);
    expect(region.ledgerOf(sink)).toBeUndefined();
  });

  it('tells a cache nothing', () => {
    const { region } = regionWorld();
    const cache = new Hearer('unmap');
    region.registerNotifier(cache);

    region.unregisterNotifier(cache);
    region.invalidate(ALL_PAGES);

    expect(cache.log).toEqual([]);
  });

  it('of somebody unknown does nothing', () => {
    const { region } = regionWorld();
    const sink = plugged(region);

    region.unregisterNotifier(new StrictSink());

    expect(region.notifiers).toEqual([sink]);
  });

  it('tells a sink that throws the rest all the same, then throws the first error', () => {
    const { region, tables, space } = regionWorld();
    for (let i = 0; i < 5; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    sink.hook = ({ iova }) => {
      throw new Error(`at ${iova}`);
    };

    expect(() => region.unregisterNotifier(sink)).toThrow('at 0');

    expect(sink.held).toEqual([]);
    expect(region.notifiers).toEqual([]);
    expect(() => space.dispose()).not.toThrow();
  });

  it('the last shadow ends the watch over the target', () => {
    const { region, space } = regionWorld();
    const [one, two] = [plugged(region), plugged(region)];

    region.unregisterNotifier(one);
    expect(() => space.dispose()).toThrow(/still has listeners/);
    region.unregisterNotifier(two);

    expect(() => space.dispose()).not.toThrow();
  });

  it('lets the notifier register again', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    const sink = plugged(region);
    region.unregisterNotifier(sink);

    region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual(['5+1>5 rw']);
  });
});

describe('a barrier', () => {
  it('returns at once when no notifier waits', () => {
    const { region } = regionWorld();
    plugged(region);

    expect(region.barrier()).toBeUndefined();
  });

  it('waits for every notifier', async () => {
    const { region } = regionWorld();
    const done: number[] = [];
    for (const n of [1, 2]) {
      const barrier = (): Promise<void> => Promise.resolve().then(() => void done.push(n));
      region.registerNotifier(Object.assign(new StrictSink(), { barrier }));
    }

    await region.barrier();

    expect(done).toEqual([1, 2]);
  });

  it('of the target space waits for the notifiers, too', async () => {
    const { region, space } = regionWorld();
    let isDone = false;
    const barrier = (): Promise<void> => Promise.resolve().then(() => void (isDone = true));
    region.registerNotifier(Object.assign(new StrictSink(), { barrier }));

    await space.barrier();

    expect(isDone).toBe(true);
  });

  it('rejects with what a notifier rejects with', async () => {
    const { region } = regionWorld();
    const failing = { barrier: () => Promise.reject(new Error('unconfirmed')) };
    region.registerNotifier(Object.assign(new StrictSink(), failing));

    await expect(region.barrier()).rejects.toThrow('unconfirmed');
  });
});

describe('the sentence for what stopped early', () => {
  it.each<[Incomplete, RegExp]>([
    [
      { kind: 'refused', mapping: { iova: 16, pages: 512, target: 0, access: 3 } },
      /2097152 bytes at IOVA 0x10000/,
    ],
    [{ kind: 'sink-failed', error: new Error('gone') }, /the sink failed: gone/],
    [{ kind: 'sink-failed', error: 'gone' }, /the sink failed: gone/],
    [{ kind: 'unsupported', remedy: 'turn it on' }, /turn it on/],
  ])('%o says %s', (why, sentence) => {
    expect(describeIncomplete(why)).toMatch(sentence);
  });
});
