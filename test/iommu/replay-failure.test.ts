import { describe, expect, it } from 'vitest';
import { type IommuNotifier, NotifierRefusedError, ReplayError } from '../../src/iommu/index.ts';
import { ALL_PAGES } from '../../src/memory/index.ts';
import { plugged, regionWorld } from '../support/region-world.ts';
import { StrictSink } from '../support/strict-sink.ts';

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

describe('a replay that cannot be completed', () => {
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
