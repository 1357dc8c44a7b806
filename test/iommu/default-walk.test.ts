import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayError, WalkReport } from '../../src/iommu/index.ts';
import { ALL_PAGES, type PageRange } from '../../src/memory/index.ts';
import { guestMemory } from '../support/guest-memory.ts';
import { ListRegion } from '../support/list-region.ts';
import { StrictSink } from '../support/strict-sink.ts';

const REGION_PAGES = 0x10000;

function listRegion(): ListRegion {
  return new ListRegion(REGION_PAGES, guestMemory([0, 0x100000]).space);
}

/** Leaves of a walk as `iova+pages`, and what it cost. */
function walk(region: ListRegion, range: PageRange, granule = 1): { leaves: string[]; report: WalkReport } {
  const leaves: string[] = [];
  const report = new WalkReport(region.budget);
  region.asked.length = 0;
  region.walk(
    range,
    0,
    (batch) => {
      for (let i = 0; i < batch.length; i++) leaves.push(`${batch.iova[i]}+${batch.pages}`);
      return true;
    },
    report,
    granule,
  );
  return { leaves, report };
}

describe('the walk of a region without tables', () => {
  it('translates a large entry once', () => {
    const region = listRegion();
    region.map(512, 512, 0);

    const { leaves } = walk(region, { start: 512, end: 1024 });

    expect(leaves).toEqual(['512+512']);
    expect(region.asked).toEqual([512]);
  });

  it('gives an entry whole though the range begins within it', () => {
    const region = listRegion();
    region.map(512, 512, 0);

    expect(walk(region, { start: 700, end: 701 }).leaves).toEqual(['512+512']);
  });

  it('asks for nothing outside the range', () => {
    const region = listRegion();

    walk(region, { start: 5, end: 8 });

    expect(region.asked).toEqual([5, 6, 7]);
  });

  it('steps over an empty granule at once', () => {
    const region = listRegion();

    walk(region, { start: 0, end: 64 }, 16);

    expect(region.asked).toEqual([0, 16, 32, 48]);
  });

  it('steps to the next granule from the middle of one', () => {
    const region = listRegion();

    walk(region, { start: 5, end: 40 }, 16);

    expect(region.asked).toEqual([5, 16, 32]);
  });

  it('looks at all of a granule that begins with a finer entry', () => {
    const region = listRegion();
    for (const page of [16, 17, 20]) region.map(page, 1, page);

    const { leaves } = walk(region, { start: 0, end: 48 }, 16);

    expect(leaves).toEqual(['16+1', '17+1', '20+1']);
  });

  it('passes an entry larger than the granule in one step', () => {
    const region = listRegion();
    region.map(512, 512, 0);

    walk(region, { start: 512, end: 1040 }, 16);

    expect(region.asked).toEqual([512, 1024]);
  });

  it('reports faults and goes on', () => {
    const region = listRegion();
    region.faulty(1, { code: 9, reason: 'broken' });
    region.map(2, 1, 2);

    const { leaves, report } = walk(region, { start: 0, end: 4 });

    expect(leaves).toEqual(['2+1']);
    expect(report.faults).toEqual([{ iova: 1, pages: 1, fault: { code: 9, reason: 'broken' } }]);
  });

  it('ends when the visitor has had enough', () => {
    const region = listRegion();
    for (let i = 0; i < 5; i++) region.map(i, 1, i);

    region.walk({ start: 0, end: 5 }, 0, (batch) => batch.iova[0] < 2, new WalkReport(), 1);

    expect(region.asked).toEqual([0, 1, 2]);
  });

  it('is cut by its budget of translations', () => {
    const region = new ListRegion(REGION_PAGES, guestMemory([0, 16]).space, { entries: 10, leaves: 100 });

    const { report } = walk(region, { start: 3, end: 100 });

    expect(region.asked).toHaveLength(10);
    expect(report.cutAt).toBe(13);
  });

  it('is cut by its budget of leaves', () => {
    const region = new ListRegion(REGION_PAGES, guestMemory([0, 16]).space, { entries: 100, leaves: 2 });
    for (let i = 0; i < 5; i++) region.map(i, 1, i);

    const { leaves, report } = walk(region, { start: 0, end: 5 });

    expect(leaves).toEqual(['0+1', '1+1']);
    expect(report.cutAt).toBe(2);
  });

  it('finds at page granularity what is there', () => {
    const entries = fc.array(fc.tuple(fc.nat(5), fc.constantFrom(1, 1, 4, 16)), { maxLength: 30 });
    fc.assert(
      fc.property(entries, fc.nat(300), fc.nat(300), (list, a, b) => {
        const region = listRegion();
        let next = 0;
        for (const [gap, pages] of list) {
          const iova = Math.ceil((next + gap) / pages) * pages;
          region.map(iova, pages, iova);
          next = iova + pages;
        }
        const range = { start: Math.min(a, b), end: Math.max(a, b) };

        const there = region.entries.filter(
          ({ iova, pages }) => iova < range.end && iova + pages > range.start,
        );

        expect(walk(region, range).leaves).toEqual(there.map(({ iova, pages }) => `${iova}+${pages}`));
      }),
    );
  });
});

describe('a replay by the default walk', () => {
  it('stops at the end of the region', () => {
    const region = listRegion();
    region.map(REGION_PAGES - 1, 1, 7);
    const sink = new StrictSink(ALL_PAGES);

    region.registerNotifierReplay(sink, 1n << 16n, false);

    expect(region.asked.every((page) => page < REGION_PAGES)).toBe(true);
  });

  it('stops at the end of the notifier', () => {
    const region = listRegion();
    region.map(5, 1, 7);
    const sink = new StrictSink({ start: 4, end: 8 });

    region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual(['5+1>7 rw']);
    expect(region.asked.every((page) => page >= 4 && page < 8)).toBe(true);
  });

  it('puts sixteen finer entries into one granule', () => {
    const region = listRegion();
    for (let i = 0; i < 16; i++) region.map(32 + i, 1, 64 + i);
    const sink = new StrictSink({ start: 0, end: 128 });

    region.registerNotifierReplay(sink, 1n << 16n, false);

    expect(sink.list).toEqual(['32+16>64 rw']);
  });

  it('costs one translation for a 2 MiB entry, and those of its edges', () => {
    const region = listRegion();
    region.map(512, 512, 0);
    const sink = new StrictSink({ start: 512, end: 1024 });

    region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual(['512+512>0 rw']);
    expect(region.asked.length).toBeLessThanOrEqual(3);
  });

  it('follows changes like any other', () => {
    const region = listRegion();
    region.map(5, 1, 7);
    const sink = new StrictSink({ start: 0, end: 64 });
    region.registerNotifierReplay(sink, 4096n, false);
    region.entries.length = 0;
    region.map(0, 16, 32);

    region.invalidate({ start: 5, end: 6 });

    expect(sink.list).toEqual(['0+16>32 rw']);
    expect(sink.violations).toEqual([]);
  });

  it('over 2^64 bytes is cut, not hung', () => {
    const region = new ListRegion(2 ** 52, guestMemory([0, 16]).space, { entries: 1000, leaves: 1000 });

    expect(() => region.registerNotifierReplay(new StrictSink(), 4096n, false)).toThrow(ReplayError);

    expect(region.asked.length).toBeLessThanOrEqual(1010);
    expect(region.notifiers).toEqual([]);
  });
});
