import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LeafBatch, Ledger, type LedgerMapping } from '../../src/iommu/index.ts';
import { PAGES_END } from '../../src/memory/index.ts';

const mapping = (iova: number, pages = 1, target = iova, flags = 3): LedgerMapping => ({
  iova,
  pages,
  target,
  flags,
});

/** A ledger of these, entered in this order. */
function ledgerOf(...mappings: LedgerMapping[]): Ledger {
  const ledger = new Ledger();
  for (const { iova, pages, target, flags } of mappings) ledger.insert(iova, pages, target, flags);
  return ledger;
}

/** The same numbers for everybody, in an order that is not theirs. */
function shuffled(count: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  let seed = 1;
  for (let i = count - 1; i > 0; i--) {
    seed = (seed * 48271) % 2147483647;
    const j = seed % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

describe('a ledger', () => {
  it('lists mappings in ascending order', () => {
    const ledger = ledgerOf(mapping(9), mapping(1), mapping(5));

    expect([...ledger.mappings()]).toEqual([mapping(1), mapping(5), mapping(9)]);
  });

  it('lists those that end after a page', () => {
    const ledger = ledgerOf(mapping(0, 4), mapping(4, 4), mapping(8, 4));

    expect([...ledger.mappings(5)].map(({ iova }) => iova)).toEqual([4, 8]);
  });

  it('keeps size, target and flags', () => {
    expect(ledgerOf(mapping(7, 3, 99, 6)).find(8)).toEqual(mapping(7, 3, 99, 6));
  });

  it('holds a mapping that ends at 2^64', () => {
    const ledger = ledgerOf(mapping(PAGES_END - 1));

    expect(ledger.find(PAGES_END - 1)).toEqual(mapping(PAGES_END - 1));
  });

  it.each([
    [0, 4],
    [3, 1],
    [0, 11],
    [4, 1],
    [7, 9],
  ])('refuses %d+%d, which overlaps, and stays as it was', (iova, pages) => {
    const ledger = ledgerOf(mapping(3, 5));

    const entered = ledger.insert(iova, pages, 0, 3);

    expect(entered).toBe(false);
    expect([...ledger.mappings()]).toEqual([mapping(3, 5)]);
  });

  it.each([
    [0, 3],
    [8, 1],
  ])('takes the neighbour %d+%d', (iova, pages) => {
    expect(ledgerOf(mapping(3, 5)).insert(iova, pages, 0, 3)).toBe(true);
  });

  it.each([
    [3, 4],
    [3, 6],
    [4, 4],
    [2, 5],
    [20, 1],
  ])('does not remove %d+%d, which names no mapping exactly', (iova, pages) => {
    const ledger = ledgerOf(mapping(3, 5));

    expect(ledger.remove(iova, pages)).toBe(false);
    expect(ledger.size).toBe(1);
  });

  it('gives all memory back when everything is removed', () => {
    const ledger = new Ledger();
    for (let i = 0; i < 5000; i++) ledger.insert(i, 1, i, 3);

    for (let i = 0; i < 5000; i++) ledger.remove(i, 1);

    expect(ledger.size).toBe(0);
    expect(ledger.bytes).toBe(0);
  });

  it('is empty after clear', () => {
    const ledger = ledgerOf(mapping(1), mapping(2));

    ledger.clear();

    expect([...ledger.mappings()]).toEqual([]);
    expect(ledger.size).toBe(0);
  });
});

describe('a cursor', () => {
  it('begins at the first mapping that ends after the page', () => {
    const ledger = ledgerOf(mapping(0, 4), mapping(10, 4));

    expect([3, 4, 13].map((page) => ledger.cursor(page).iova)).toEqual([0, 10, 10]);
  });

  it('is not valid behind the last mapping', () => {
    expect(ledgerOf(mapping(0, 4)).cursor(4).valid).toBe(false);
  });

  it('is at the next mapping after it removed one', () => {
    const cursor = ledgerOf(mapping(0), mapping(5), mapping(9)).cursor(5);

    cursor.remove();

    expect(cursor.iova).toBe(9);
  });

  it('is not valid after it removed the last', () => {
    const cursor = ledgerOf(mapping(0), mapping(5)).cursor(5);

    cursor.remove();

    expect(cursor.valid).toBe(false);
  });

  it('stays where it is when it enters a mapping', () => {
    const ledger = ledgerOf(mapping(0), mapping(9));
    const cursor = ledger.cursor(1);

    cursor.insert(4, 2, 40, 3);

    expect(cursor.iova).toBe(9);
    expect([...ledger.mappings()].map(({ iova }) => iova)).toEqual([0, 4, 9]);
  });

  it('stays where it is when entering splits a chunk under it', () => {
    const ledger = new Ledger();
    for (let i = 0; i < 512; i++) ledger.insert(i * 10, 1, i, 3);
    const cursor = ledger.cursor(2551);

    cursor.insert(2555, 1, 0, 3);

    expect(cursor.iova).toBe(2560);
  });

  it('walks all chunks', () => {
    const ledger = new Ledger();
    for (const i of shuffled(2000)) ledger.insert(i, 1, i, 3);
    const seen: number[] = [];

    for (const cursor = ledger.cursor(0); cursor.valid; cursor.next()) seen.push(cursor.iova);

    expect(seen).toEqual(Array.from({ length: 2000 }, (_, i) => i));
  });
});

describe('passing over equal leaves', () => {
  function batchOf(...leaves: (readonly [iova: number, target: number, access: number])[]): LeafBatch {
    const batch = new LeafBatch();
    for (const leaf of leaves) batch.push(...leaf);
    return batch;
  }

  it('ends at the end of the batch with the cursor behind the last equal mapping', () => {
    const cursor = ledgerOf(mapping(1), mapping(2), mapping(3)).cursor(0);

    expect(cursor.skipEqual(batchOf([1, 1, 3], [2, 2, 3]), 0)).toBe(2);
    expect(cursor.iova).toBe(3);
  });

  it.each([
    ['another target', [2, 9, 3]],
    ['other permissions', [2, 2, 1]],
    ['another place', [3, 2, 3]],
  ] as const)('ends at a leaf with %s', (_what, leaf) => {
    const cursor = ledgerOf(mapping(1), mapping(2)).cursor(0);

    expect(cursor.skipEqual(batchOf([1, 1, 3], leaf), 0)).toBe(1);
    expect(cursor.iova).toBe(2);
  });

  it('ends at a leaf of another size', () => {
    const cursor = ledgerOf(mapping(0, 512)).cursor(0);

    expect(cursor.skipEqual(batchOf([0, 0, 3]), 0)).toBe(0);
  });

  it('ends where the ledger ends', () => {
    const cursor = ledgerOf(mapping(1)).cursor(0);

    expect(cursor.skipEqual(batchOf([1, 1, 3], [2, 2, 3]), 0)).toBe(1);
    expect(cursor.valid).toBe(false);
  });

  it('begins where it is told', () => {
    const cursor = ledgerOf(mapping(2)).cursor(0);

    expect(cursor.skipEqual(batchOf([1, 1, 3], [2, 2, 3]), 1)).toBe(2);
  });

  it('crosses from chunk to chunk', () => {
    const ledger = new Ledger();
    for (let i = 0; i < 700; i++) ledger.insert(i, 1, i, 3);
    const batch = batchOf(...Array.from({ length: 400 }, (_, i) => [300 + i, 300 + i, 3] as const));

    expect(ledger.cursor(300).skipEqual(batch, 0)).toBe(400);
  });
});

describe('the memory of a ledger', () => {
  it.each([
    ['ascending', Array.from({ length: 200_000 }, (_, i) => i)],
    ['descending', Array.from({ length: 200_000 }, (_, i) => 200_000 - i)],
    ['in random order', shuffled(200_000)],
  ])('is at most 40 bytes a mapping when they arrive %s', (_order, list) => {
    const ledger = new Ledger();

    for (const i of list) ledger.insert(i * 2, 1, i, 3);

    expect(ledger.size).toBe(200_000);
    expect(ledger.bytes / ledger.size).toBeLessThanOrEqual(40);
  });

  it.each([
    ['ascending', Array.from({ length: 100_000 }, (_, i) => i)],
    ['descending', Array.from({ length: 100_000 }, (_, i) => 99_999 - i)],
    ['in random order', shuffled(100_000)],
  ])('is given back when most mappings go, %s', (_order, list) => {
    const ledger = new Ledger();
    for (let i = 0; i < 100_000; i++) ledger.insert(i, 1, i, 3);

    for (const i of list) if (i % 1000 !== 0) ledger.remove(i, 1);

    expect(ledger.size).toBe(100);
    expect(ledger.bytes).toBeLessThanOrEqual(2 * 512 * 25);
  });
});

type Step =
  | { readonly does: 'insert'; readonly iova: number; readonly pages: number }
  | { readonly does: 'remove'; readonly pick: number }
  | { readonly does: 'cut'; readonly from: number; readonly count: number }
  | { readonly does: 'fill'; readonly from: number; readonly count: number };

/** Sorted mappings as a plain Map by first page. */
class PlainLedger {
  readonly held: Map<number, LedgerMapping> = new Map();

  overlaps(iova: number, pages: number): boolean {
    return this.sorted().some((m) => m.iova < iova + pages && iova < m.iova + m.pages);
  }

  sorted(): LedgerMapping[] {
    return [...this.held.values()].toSorted((a, b) => a.iova - b.iova);
  }
}

function take(step: Step, ledger: Ledger, plain: PlainLedger): void {
  switch (step.does) {
    case 'insert': {
      const { iova, pages } = step;
      const isFree = !plain.overlaps(iova, pages);
      expect(ledger.insert(iova, pages, iova + 7, 3)).toBe(isFree);
      if (isFree) plain.held.set(iova, mapping(iova, pages, iova + 7));
      break;
    }
    case 'remove': {
      const list = plain.sorted();
      const victim = list[step.pick % list.length];
      if (victim === undefined) return;
      expect(ledger.remove(victim.iova, victim.pages)).toBe(true);
      plain.held.delete(victim.iova);
      break;
    }
    case 'cut': {
      const cursor = ledger.cursor(step.from);
      for (let i = 0; i < step.count && cursor.valid; i++) {
        plain.held.delete(cursor.iova);
        cursor.remove();
      }
      break;
    }
    case 'fill': {
      const cursor = ledger.cursor(step.from);
      const from = cursor.valid && cursor.iova < step.from ? cursor.iova + cursor.pages : step.from;
      for (let i = 0, iova = from; i < step.count; i++, iova++) {
        while (cursor.valid && cursor.iova + cursor.pages <= iova) cursor.next();
        if (cursor.valid && cursor.iova <= iova) break;
        cursor.insert(iova, 1, iova, 1);
        plain.held.set(iova, mapping(iova, 1, iova, 1));
      }
    }
  }
}

describe('a ledger against a Map', () => {
  const steps: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      does: fc.constant('insert' as const),
      iova: fc.nat(9000),
      pages: fc.constantFrom(1, 1, 1, 16, 512),
    }),
    fc.record({ does: fc.constant('remove' as const), pick: fc.nat() }),
    fc.record({ does: fc.constant('cut' as const), from: fc.nat(9000), count: fc.nat(700) }),
    fc.record({ does: fc.constant('fill' as const), from: fc.nat(9000), count: fc.nat(700) }),
  );

  it('holds the same after any inserts and removals, by number and by cursor', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 40, size: 'max' }), fc.nat(9600), (list, page) => {
        const ledger = new Ledger();
        const plain = new PlainLedger();

        for (const step of list) take(step, ledger, plain);

        const sorted = plain.sorted();
        expect([...ledger.mappings()]).toEqual(sorted);
        expect(ledger.size).toBe(sorted.length);
        const covering = sorted.find((m) => m.iova <= page && page < m.iova + m.pages);
        expect(ledger.find(page)).toEqual(covering);
        const after = sorted.filter((m) => m.iova + m.pages > page);
        expect([...ledger.mappings(page)]).toEqual(after);
      }),
      { numRuns: 150 },
    );
  });

  it('holds the same after a hundred thousand of them', () => {
    const ledger = new Ledger();
    const held = new Set<number>();
    const order = shuffled(50_000);

    for (const i of order) {
      held.add(i);
      ledger.insert(i, 1, i, 3);
      const other = order[i];
      if (other % 2 === 0 && held.delete(other)) ledger.remove(other, 1);
    }

    expect([...ledger.mappings()].map(({ iova }) => iova)).toEqual([...held].toSorted((a, b) => a - b));
  });
});
