import fc from 'fast-check';
import { assert, describe, expect, it } from 'vitest';
import { Ledger, type LedgerMapping } from '../../src/iommu/index.ts';
import { shuffled } from '../support/shuffled.ts';

const mapping = (iova: number, pages = 1, target = iova, flags = 3): LedgerMapping => ({
  iova,
  pages,
  target,
  flags,
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
      assert.strictEqual(ledger.insert(iova, pages, iova + 7, 3), isFree);
      if (isFree) plain.held.set(iova, mapping(iova, pages, iova + 7));
      break;
    }
    case 'remove': {
      const list = plain.sorted();
      const victim = list[step.pick % list.length];
      if (victim === undefined) return;
      assert.isTrue(ledger.remove(victim.iova, victim.pages));
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
