import { describe, expect, it } from 'vitest';
import { Ledger, type LedgerMapping } from '../../src/iommu/index.ts';
import { PAGES_END } from '../../src/memory/index.ts';
import { shuffled } from '../support/shuffled.ts';

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
