import { describe, expect, it } from 'vitest';
import { guestMemory } from '../support/guest-memory.ts';
import { ListRegion } from '../support/list-region.ts';
import { StrictSink } from '../support/strict-sink.ts';

/** A region of mappings that need not nest, as those of virtio-iommu, with these replayed to a sink. */
function plugged(...mappings: readonly (readonly [iova: number, pages: number])[]): {
  region: ListRegion;
  sink: StrictSink;
} {
  const region = new ListRegion(64, guestMemory([0, 64]).space);
  for (const [iova, pages] of mappings) region.map(iova, pages, iova);
  const sink = new StrictSink();
  region.registerNotifierReplay(sink, 4096n, false);
  sink.takeLog();
  region.entries.length = 0;
  return { region, sink };
}

describe('an invalidation grows until it cuts nothing', () => {
  it('downwards from a new mapping to an old one below', () => {
    const { region, sink } = plugged([0, 10], [12, 8]);
    region.map(0, 5, 0);
    region.map(5, 10, 5);

    region.invalidate({ start: 13, end: 14 });

    expect(sink.log).toEqual(['unmap 0+10', 'unmap 12+8', 'map 0+5', 'map 5+10']);
  });

  it('upwards from a new mapping to an old one above', () => {
    const { region, sink } = plugged([10, 10]);
    region.map(5, 10, 5);
    region.map(15, 5, 15);

    region.invalidate({ start: 6, end: 7 });

    expect(sink.log).toEqual(['unmap 10+10', 'map 5+10', 'map 15+5']);
  });

  it('and no further', () => {
    const { region, sink } = plugged([0, 4], [4, 4], [8, 4]);

    region.invalidate({ start: 5, end: 6 });

    expect(sink.log).toEqual(['unmap 4+4']);
  });
});
