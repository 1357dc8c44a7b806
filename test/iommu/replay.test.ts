import { describe, expect, it } from 'vitest';
import { type IommuNotifier, NotifierRefusedError, ReplayError } from '../../src/iommu/index.ts';
import { ALL_PAGES, PAGES_END, RamRegion, SparseRamBlock } from '../../src/memory/index.ts';
import { plugged, RAM_PAGES, regionWorld } from '../support/region-world.ts';
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

    expect(below.list).toEqual([`${0x40000}+${0x10000}>0 rw`]);
    expect(above.list).toEqual([`${0x50100}+${0x2ff00}>${0x10100} rw`]);
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

describe('isWrite', () => {
  it('leaves out what does not allow writing', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 1, 1);
    tables.map(2, 2, 2);
    tables.map(3, 3, 3);

    expect(plugged(region, { isWrite: true }).list).toEqual(['2+1>2 w', '3+1>3 rw']);
  });

  it('leaves it out later, too', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 1, 3);
    const sink = plugged(region, { isWrite: true });

    tables.map(1, 1, 1);
    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual(['unmap 1+1']);
  });

  it('tells what lies in ROM as a mapping that no memory fits', () => {
    const { region, tables, root } = regionWorld();
    root.add(new RamRegion('rom', new SparseRamBlock(1), { readonly: true }), 7, 1);
    tables.map(1, 7, 3);

    expect(plugged(region, { isWrite: true }).list).toEqual(['1+1>7 rw!']);
  });
});

describe('the target of a mapping', () => {
  it('that is no RAM is told as such', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 0xe0000, 3);

    expect(plugged(region).list).toEqual([`1+1>${0xe0000} rw!`]);
  });

  it('is told in pieces where RAM ends within a leaf', () => {
    const { region, tables } = regionWorld();
    tables.map(0x40000, 0x40000, 3, 3);
    tables.map(0x80000, 0x80000, 3, 3);

    expect(plugged(region).list).toEqual([
      `${0x40000}+${0x40000}>${0x40000} rw`,
      `${0x80000}+${0x40000}>${RAM_PAGES} rw!`,
    ]);
  });

  it('in ROM is told as read-only, and for writing alone as one that no memory fits', () => {
    const { region, tables, root } = regionWorld();
    root.add(new RamRegion('rom', new SparseRamBlock(1), { readonly: true }), 7, 1);
    tables.map(1, 7, 3);
    tables.map(2, 7, 2);

    expect(plugged(region).list).toEqual(['1+1>7 r', '2+1>7 w!']);
  });
});

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

describe('a replay that cannot be completed', () => {
  /** Ten mappings and a sink with `fail` called at the fourth map. */
  function failing(fail: () => boolean | void) {
    const world = regionWorld();
    for (let i = 0; i < 10; i++) world.tables.map(i, i, 3);
    const sink = new StrictSink();
    sink.hook = ({ op, iova }) => (op === 'map' && iova === 3 ? fail() : true);
    return { ...world, sink };
  }

  function replayError(run: () => unknown): ReplayError {
    try {
      run();
    } catch (error) {
      if (error instanceof ReplayError) return error;
      throw error;
    }
    throw new Error('nothing was thrown');
  }

  it.each([
    ['refused', () => false, /refused the mapping of 4096 bytes at IOVA 0x3000/],
    [
      'failed',
      () => {
        throw new Error('the host is gone');
      },
      /the sink failed: the host is gone/,
    ],
  ])('because the sink %s leaves nothing registered and the sink empty', (_how, fail, message) => {
    const { region, sink } = failing(fail);

    const error = replayError(() => region.registerNotifierReplay(sink, 4096n, false));

    expect(error.message).toMatch(message);
    expect(error.code).toBe('VIOMMU_REPLAY_INCOMPLETE');
    expect(region.notifiers).toEqual([]);
    expect(sink.held).toEqual([]);
    expect(sink.violations).toEqual([]);
  });

  it('names the mapping that was refused', () => {
    const { region, sink } = failing(() => false);

    const { why } = replayError(() => region.registerNotifierReplay(sink, 4096n, false));

    expect(why).toEqual({ kind: 'refused', mapping: { iova: 3, pages: 1, target: 3, access: 3 } });
  });

  it('has what the sink threw as its cause', () => {
    const cause = new Error('the host is gone');
    const { region, sink } = failing(() => {
      throw cause;
    });

    const error = replayError(() => region.registerNotifierReplay(sink, 4096n, false));

    expect(error.cause).toBe(cause);
  });

  it('keeps its first reason when the sink fails again while it is emptied', () => {
    const { region, sink } = failing(() => false);
    const refuse = sink.hook!;
    sink.hook = (event) => {
      if (event.op === 'unmap') throw new Error('and again');
      return refuse(event);
    };

    const error = replayError(() => region.registerNotifierReplay(sink, 4096n, false));

    expect(error.why.kind).toBe('refused');
    expect(sink.held).toEqual([]);
  });

  it('because the walk was cut leaves nothing registered and the sink empty', () => {
    const { region, tables } = regionWorld({ budget: { entries: 2 ** 20, leaves: 5 } });
    for (let i = 0; i < 10; i++) tables.map(i, i, 3);
    const sink = new StrictSink();

    const error = replayError(() => region.registerNotifierReplay(sink, 4096n, false));

    expect(error.message).toMatch(/walk was cut at IOVA 0x5000 after \d+ table entries and 5 leaves/);
    expect(region.notifiers).toEqual([]);
    expect(sink.held).toEqual([]);
  });

  it('leaves no listener in the target space', () => {
    const { region, space, sink } = failing(() => false);

    replayError(() => region.registerNotifierReplay(sink, 4096n, false));

    expect(() => space.dispose()).not.toThrow();
  });

  it('can be tried again', () => {
    const { region, sink } = failing(() => false);
    replayError(() => region.registerNotifierReplay(sink, 4096n, false));
    sink.hook = undefined;

    region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.held).toHaveLength(10);
  });

  it('does not disturb the others', () => {
    const { region, sink } = failing(() => false);
    const other = plugged(region);

    replayError(() => region.registerNotifierReplay(sink, 4096n, false));

    expect(other.log).toEqual([]);
    expect(other.held).toHaveLength(10);
  });
});

describe('a notifier that cannot be replayed to', () => {
  it('because the model refuses it is told why and how to help', () => {
    const { region } = regionWorld();
    region.remedy = 'turn caching mode on';
    const register = (): unknown => region.registerNotifierReplay(new StrictSink(), 4096n, false);

    expect(register).toThrow(NotifierRefusedError);
    expect(register).toThrow('test-iommu: turn caching mode on');
    expect(region.notifiers).toEqual([]);
  });

  it.each(['unmap', 'device-iotlb-unmap'] as const)(
    'because it asks for %s only is a TypeError',
    (events) => {
      const { region } = regionWorld();
      const cache: IommuNotifier = { events, range: ALL_PAGES, index: 0, notify: () => true };

      expect(() => region.registerNotifierReplay(cache, 4096n, false)).toThrow(TypeError);
      expect(region.notifiers).toEqual([]);
    },
  );

  it('because it is registered already stays as it was', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 1, 3);
    const sink = plugged(region);

    expect(() => region.registerNotifierReplay(sink, 4096n, false)).toThrow(
      /registered with test-iommu already/,
    );
    expect(sink.list).toEqual(['1+1>1 rw']);
    expect(region.notifiers).toEqual([sink]);
  });
});
