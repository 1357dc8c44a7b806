import { describe, expect, it } from 'vitest';
import { LeafBatch, Ledger } from '../../src/iommu/index.ts';
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
