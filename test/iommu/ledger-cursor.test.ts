import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LeafBatch, Ledger, type LedgerMapping } from '../../src/iommu/index.ts';
import { shuffled } from '../support/shuffled.ts';

/** A ledger of mappings `[first page, pages]` onto themselves, read and write. */
function ledgerOf(...mappings: readonly (readonly [number, number])[]): Ledger {
  const ledger = new Ledger();
  for (const [iova, pages] of mappings) ledger.insert(iova, pages, iova, 3);
  return ledger;
}

describe('a cursor', () => {
  it('begins at the first mapping that ends after the page', () => {
    const ledger = ledgerOf([0, 4], [10, 4]);

    expect([3, 4, 13].map((page) => ledger.cursor(page).iova)).toEqual([0, 10, 10]);
  });

  it('is not valid behind the last mapping', () => {
    expect(ledgerOf([0, 4]).cursor(4).valid).toBe(false);
  });

  it('is at the next mapping after it removed one', () => {
    const cursor = ledgerOf([0, 1], [5, 1], [9, 1]).cursor(5);

    cursor.remove();

    expect(cursor.iova).toBe(9);
  });

  it('is not valid after it removed the last', () => {
    const cursor = ledgerOf([0, 1], [5, 1]).cursor(5);

    cursor.remove();

    expect(cursor.valid).toBe(false);
  });

  it('stays where it is when it enters a mapping', () => {
    const ledger = ledgerOf([0, 1], [9, 1]);
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

  it('changes the flags of its mapping and of no other', () => {
    const ledger = ledgerOf([0, 1], [5, 1], [9, 1]);

    ledger.cursor(5).setFlags(17);

    expect([...ledger.mappings()].map(({ flags }) => flags)).toEqual([3, 17, 3]);
  });

  it('walks all chunks', () => {
    const ledger = new Ledger();
    for (const i of shuffled(2000)) ledger.insert(i, 1, i, 3);
    const seen: number[] = [];

    for (const cursor = ledger.cursor(0); cursor.valid; cursor.next()) seen.push(cursor.iova);

    expect(seen).toEqual(Array.from({ length: 2000 }, (_, i) => i));
  });
});

function batchOf(...leaves: (readonly [iova: number, target: number, access: number])[]): LeafBatch {
  const batch = new LeafBatch();
  for (const leaf of leaves) batch.push(...leaf);
  return batch;
}

describe('passing over equal leaves', () => {
  it('ends at the end of the batch with the cursor behind the last equal mapping', () => {
    const cursor = ledgerOf([1, 1], [2, 1], [3, 1]).cursor(0);

    expect(cursor.skipEqual(batchOf([1, 1, 3], [2, 2, 3]), 0)).toBe(2);
    expect(cursor.iova).toBe(3);
  });

  it.each([
    ['another target', [2, 9, 3]],
    ['other permissions', [2, 2, 1]],
    ['another place', [3, 2, 3]],
  ] as const)('ends at a leaf with %s', (_what, leaf) => {
    const cursor = ledgerOf([1, 1], [2, 1]).cursor(0);

    expect(cursor.skipEqual(batchOf([1, 1, 3], leaf), 0)).toBe(1);
    expect(cursor.iova).toBe(2);
  });

  it('ends at a leaf of another size', () => {
    const cursor = ledgerOf([0, 512]).cursor(0);

    expect(cursor.skipEqual(batchOf([0, 0, 3]), 0)).toBe(0);
  });

  it('ends where the ledger ends', () => {
    const cursor = ledgerOf([1, 1]).cursor(0);

    expect(cursor.skipEqual(batchOf([1, 1, 3], [2, 2, 3]), 0)).toBe(1);
    expect(cursor.valid).toBe(false);
  });

  it('passes over exactly as many as a comparison one by one finds', () => {
    const change = fc.record({
      at: fc.nat(1300),
      what: fc.constantFrom(
        'target' as const,
        'flags' as const,
        'iova' as const,
        'pages' as const,
        'drop' as const,
      ),
    });
    fc.assert(
      fc.property(
        fc.constantFrom<number>(1, 2, 512),
        fc.constantFrom<number>(1, 1, 1, 2),
        fc.nat(900),
        fc.integer({ min: 1, max: 512 }),
        fc.array(change, { maxLength: 3 }),
        fc.nat(600),
        (pages, stride, first, count, changes, from) => {
          const ledger = new Ledger();
          const held: LedgerMapping[] = [];
          for (let i = 0; i < 1300; i++) {
            const it = { iova: i * pages * stride, pages, target: i, flags: 3 };
            for (const { at, what } of changes) {
              if (at !== i) continue;
              if (what === 'target') it.target += 5000;
              else if (what === 'flags') it.flags = 1;
              else if (what === 'pages' && (stride > 1 || pages > 1))
                it.pages = stride > 1 ? pages + 1 : pages - 1;
              else if (what === 'iova' && stride > 1) it.iova++;
              else if (what === 'drop') it.pages = 0;
            }
            if (it.pages > 0 && ledger.insert(it.iova, it.pages, it.target, it.flags)) held.push(it);
          }
          const batch = batchOf(
            ...Array.from({ length: count }, (_, i) => [(first + i) * pages * stride, first + i, 3] as const),
          );
          batch.pages = pages;
          const begin = Math.min(from, count - 1);
          const rest = held.filter(({ iova, pages: size }) => iova + size > batch.iova[begin]);
          let expected = begin;
          while (
            expected < count &&
            rest[expected - begin]?.iova === batch.iova[expected] &&
            rest[expected - begin].pages === pages &&
            rest[expected - begin].target === batch.target[expected] &&
            rest[expected - begin].flags === 3
          )
            expected++;

          const cursor = ledger.cursor(batch.iova[begin]);
          const reached = cursor.skipEqual(batch, begin);

          expect(reached).toBe(expected);
          expect(cursor.valid ? cursor.mapping : undefined).toEqual(rest[expected - begin]);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('begins where it is told', () => {
    const cursor = ledgerOf([2, 1]).cursor(0);

    expect(cursor.skipEqual(batchOf([1, 1, 3], [2, 2, 3]), 1)).toBe(2);
  });

  it('crosses from chunk to chunk', () => {
    const ledger = new Ledger();
    for (let i = 0; i < 700; i++) ledger.insert(i, 1, i, 3);
    const batch = batchOf(...Array.from({ length: 400 }, (_, i) => [300 + i, 300 + i, 3] as const));

    expect(ledger.cursor(300).skipEqual(batch, 0)).toBe(400);
  });
});
