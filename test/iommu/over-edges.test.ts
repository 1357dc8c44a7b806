/** Leaves that reach over the edge of what a notifier follows: around a hole, as that of interrupts. @module */
import { describe, expect, it } from 'vitest';
import { guestMemory } from '../support/guest-memory.ts';
import { ListRegion } from '../support/list-region.ts';
import { StrictSink } from '../support/strict-sink.ts';

const BELOW = { start: 0, end: 20 };
const ABOVE = { start: 24, end: 64 };

/** Two notifiers with a hole between them, and these leaves replayed to both. */
function plugged(...leaves: readonly (readonly [iova: number, pages: number])[]) {
  const region = new ListRegion(64, guestMemory([0, 64]).space);
  const below = new StrictSink(BELOW);
  const above = new StrictSink(ABOVE);
  setLeaves(region, leaves);
  region.registerNotifierReplay(below, 4096n, false);
  region.registerNotifierReplay(above, 4096n, false);
  below.takeLog();
  above.takeLog();
  return { region, below, above };
}

function setLeaves(region: ListRegion, leaves: readonly (readonly [iova: number, pages: number])[]): void {
  region.entries.length = 0;
  for (const [iova, pages] of leaves) region.map(iova, pages, iova);
}

const EVERYWHERE = [
  { name: 'below the hole', page: 17 },
  { name: 'in the hole', page: 22 },
  { name: 'above the hole', page: 30 },
];

describe('a leaf over the hole', () => {
  it.each(EVERYWHERE)('goes whole when a page $name is invalidated', ({ page }) => {
    const { region, below, above } = plugged([16, 16]);
    setLeaves(region, []);

    region.invalidate({ start: page, end: page + 1 });

    expect(below.log).toEqual(['unmap 16+4']);
    expect(above.log).toEqual(['unmap 24+8']);
  });

  it.each(EVERYWHERE)('comes whole when a page $name is invalidated', ({ page }) => {
    const { region, below, above } = plugged();
    setLeaves(region, [[16, 16]]);

    region.invalidate({ start: page, end: page + 1 });

    expect(below.log).toEqual(['map 16+4']);
    expect(above.log).toEqual(['map 24+8']);
  });

  it.each(EVERYWHERE)('gives way to smaller ones when a page $name is invalidated', ({ page }) => {
    const { region, below, above } = plugged([16, 16]);
    setLeaves(region, [
      [16, 1],
      [31, 1],
    ]);

    region.invalidate({ start: page, end: page + 1 });

    expect(below.log).toEqual(['unmap 16+4', 'map 16+1']);
    expect(above.log).toEqual(['unmap 24+8', 'map 31+1']);
  });

  it('is no part of the invalidation of another', () => {
    const { region, below, above } = plugged([8, 4], [16, 16], [40, 4]);
    setLeaves(region, []);

    region.invalidate({ start: 9, end: 10 });

    expect(below.log).toEqual(['unmap 8+4']);
    expect(above.log).toEqual([]);
  });

  it('is known still after an invalidation that found it unchanged', () => {
    const { region, below, above } = plugged([16, 16]);
    region.invalidate({ start: 17, end: 18 });
    region.invalidate({ start: 30, end: 31 });
    setLeaves(region, []);

    region.invalidate({ start: 17, end: 18 });

    expect(below.log).toEqual(['unmap 16+4']);
    expect(above.log).toEqual(['unmap 24+8']);
  });
});

it('a single notifier follows its part of a leaf, wherever in the leaf is invalidated', () => {
  const region = new ListRegion(64, guestMemory([0, 64]).space);
  const sink = new StrictSink(BELOW);
  setLeaves(region, [[16, 16]]);
  region.registerNotifierReplay(sink, 4096n, false);
  sink.takeLog();
  setLeaves(region, []);

  region.invalidate({ start: 30, end: 31 });

  expect(sink.log).toEqual(['unmap 16+4']);
});
