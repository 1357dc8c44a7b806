import { describe, expect, it } from 'vitest';
import {
  describeIncomplete,
  type Incomplete,
  type IommuEvent,
  type IommuNotifier,
  type NotifierEvents,
  NotifierRefusedError,
} from '../../src/iommu/index.ts';
import { ALL_PAGES, type PageRange } from '../../src/memory/index.ts';
import { plugged, regionWorld } from '../support/region-world.ts';
import { StrictSink } from '../support/strict-sink.ts';

/** A notifier without books that writes down what it hears. */
class Hearer implements IommuNotifier {
  readonly events: NotifierEvents;
  readonly range: PageRange;
  readonly index: number;
  readonly log: string[] = [];
  readonly incompletes: Incomplete[] = [];
  hook: (() => void) | undefined;

  constructor(events: NotifierEvents, range: PageRange = ALL_PAGES, index = 0) {
    this.events = events;
    this.range = range;
    this.index = index;
  }

  notify({ op, iova, pages }: IommuEvent): void {
    this.log.push(`${op} ${iova}+${pages}`);
    this.hook?.();
  }

  incomplete(why: Incomplete): void {
    this.incompletes.push(why);
  }
}

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
    expect(() => space.dispose()).toThrow();
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

describe('a cache', () => {
  it('hears of an invalidation as wide as it was, within its own range', () => {
    const { region } = regionWorld();
    const cache = new Hearer('unmap', { start: 10, end: 20 });
    region.registerNotifier(cache);

    region.invalidate({ start: 5, end: 15 });

    expect(cache.log).toEqual(['unmap 10+5']);
  });

  it('hears nothing of an invalidation beside its range', () => {
    const { region } = regionWorld();
    const cache = new Hearer('unmap', { start: 10, end: 20 });
    region.registerNotifier(cache);

    region.invalidate({ start: 20, end: 30 });

    expect(cache.log).toEqual([]);
  });

  it('hears of everything up to 2^64', () => {
    const { region } = regionWorld();
    const cache = new Hearer('unmap');
    region.registerNotifier(cache);

    region.invalidate(ALL_PAGES);

    expect(cache.log).toEqual([`unmap 0+${2 ** 52}`]);
  });

  it('that throws does not keep a shadow from following', () => {
    const { region, tables } = regionWorld();
    const cache = new Hearer('unmap');
    cache.hook = () => {
      throw new Error('broken');
    };
    region.registerNotifier(cache);
    const sink = plugged(region);
    tables.map(5, 5, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.list).toEqual(['5+1>5 rw']);
    expect(cache.incompletes.map(({ kind }) => kind)).toEqual(['sink-failed']);
  });
});

describe('a device with a translation cache of its own', () => {
  it('hears of invalidations of that cache only', () => {
    const { region } = regionWorld();
    const device = new Hearer('device-iotlb-unmap');
    region.registerNotifier(device);

    region.invalidate({ start: 1, end: 2 });
    region.invalidateDeviceIotlb({ start: 5, end: 7 }, 0);

    expect(device.log).toEqual(['unmap 5+2']);
  });

  it('hears of its own index only', () => {
    const { region } = regionWorld();
    const device = new Hearer('device-iotlb-unmap', ALL_PAGES, 3);
    region.registerNotifier(device);

    region.invalidateDeviceIotlb({ start: 5, end: 7 }, 0);
    region.invalidateDeviceIotlb({ start: 8, end: 9 }, 3);

    expect(device.log).toEqual(['unmap 8+1']);
  });

  it('does not make a cache or a shadow hear of it', () => {
    const { region, tables } = regionWorld();
    const cache = new Hearer('unmap');
    region.registerNotifier(cache);
    const sink = plugged(region);
    tables.map(5, 5, 3);

    region.invalidateDeviceIotlb(ALL_PAGES, 0);

    expect([cache.log, sink.log]).toEqual([[], []]);
  });
});

describe('an index', () => {
  it('has its own table', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    region.tables.set(7, other);
    tables.map(1, 1, 3);
    other.map(2, 2, 3);

    expect(plugged(region, { index: 7 }).list).toEqual(['2+1>2 rw']);
  });

  it('is followed by an invalidation that names it, and no other is', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    region.tables.set(7, other);
    const [plain, tagged] = [plugged(region), plugged(region, { index: 7 })];
    tables.map(1, 1, 3);
    other.map(2, 2, 3);

    region.invalidate(ALL_PAGES, 7);

    expect([plain.list, tagged.list]).toEqual([[], ['2+1>2 rw']]);
  });

  it('is followed by an invalidation that names none', () => {
    const { region, moreTables } = regionWorld();
    const other = moreTables();
    region.tables.set(7, other);
    const tagged = plugged(region, { index: 7 });
    other.map(2, 2, 3);

    region.invalidate(ALL_PAGES);

    expect(tagged.list).toEqual(['2+1>2 rw']);
  });
});

describe('from inside notify()', () => {
  it('another notifier registers and hears of everything once', () => {
    const { region, tables } = regionWorld();
    const first = plugged(region);
    const second = new StrictSink();
    first.hook = () => {
      first.hook = undefined;
      region.registerNotifierReplay(second, 4096n, false);
    };
    tables.map(5, 5, 3);
    tables.map(6, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(second.log).toEqual(['map 5+1', 'map 6+1']);
    expect(first.list).toEqual(['5+1>5 rw', '6+1>6 rw']);
  });

  it('another notifier is unregistered and hears no more than that', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    const [first, second] = [plugged(region), plugged(region)];
    first.hook = () => region.unregisterNotifier(second);
    tables.map(6, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(second.log).toEqual(['unmap 5+1']);
  });

  it('a shadow unregisters itself at a map and is told that all before is gone', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.hook = ({ op, iova }) => {
      if (op !== 'map' || iova !== 2) return true;
      region.unregisterNotifier(sink);
      return false;
    };
    for (let i = 0; i < 5; i++) tables.map(i, i, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual(['map 0+1', 'map 1+1', 'map 2+1', 'unmap 0+1', 'unmap 1+1']);
    expect(sink.held).toEqual([]);
    expect(region.notifiers).toEqual([]);
  });

  it('the event stays what it was when the shadow unregisters itself', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 5; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    let after = '';
    sink.hook = (event) => {
      if (event.op !== 'map') return true;
      region.unregisterNotifier(sink);
      after = `${event.op} ${event.iova}`;
      return false;
    };
    tables.map(9, 9, 3);

    region.invalidate(ALL_PAGES);

    expect(after).toBe('map 9');
  });

  it('an invalidation takes place after the one under way', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.hook = () => {
      sink.hook = undefined;
      tables.map(1, 1, 3);
      region.invalidate({ start: 1, end: 2 });
    };
    tables.map(5, 5, 3);
    tables.map(6, 6, 3);

    region.invalidate({ start: 5, end: 7 });

    expect(sink.log).toEqual(['map 5+1', 'map 6+1', 'map 1+1']);
    expect(sink.violations).toEqual([]);
  });

  it('RAM is taken away and what follows is told as what it is then', () => {
    const { region, tables, ram } = regionWorld();
    const sink = new StrictSink();
    sink.hook = () => {
      sink.hook = undefined;
      ram[0].setEnabled(false);
    };
    for (let i = 0; i < 3; i++) tables.map(i, i, 3);

    region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual(['0+1>0 rw!', '1+1>1 rw!', '2+1>2 rw!']);
    expect(sink.log).toEqual(['map 0+1', 'unmap 0+1', 'map 0+1', 'map 1+1', 'map 2+1']);
    expect(sink.violations).toEqual([]);
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

  it('rejects with what a notifier rejects with', async () => {
    const { region } = regionWorld();
    const barrier = (): Promise<void> => Promise.reject(new Error('unconfirmed'));
    region.registerNotifier(Object.assign(new StrictSink(), { barrier }));

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
