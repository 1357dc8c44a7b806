import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EntryKind, type RadixStep, translateRadix } from '../../src/iommu/index.ts';
import { naiveTranslate } from '../reference/naive-walk.ts';
import { spanOf } from '../support/table-writer.ts';
import { CONT, outsideFault, P, PS, R, RESERVED_FAULT, SKIP_SHIFT, W } from '../support/test-format.ts';
import { TABLES_AT, tableWorld } from '../support/table-world.ts';

/** Low word of an entry that leads to `table`. */
function tableEntry(table: number): number {
  return ((table << 12) | P | R | W) >>> 0;
}

describe('a translation', () => {
  it('ends at a leaf with its first page, size, target and what all levels allow', () => {
    const { tables } = tableWorld(4);
    tables.map(0x600, 0x200, 1, 2);

    expect(translateRadix(tables, 0x7ff)).toEqual({
      kind: 'leaf',
      iova: 0x600,
      pages: 512,
      target: 0x200,
      access: 1,
    });
  });

  it('reports a leaf that allows nothing as one', () => {
    const { tables } = tableWorld(3);
    tables.map(5, 9, 0);

    expect(translateRadix(tables, 5)).toEqual({ kind: 'leaf', iova: 5, pages: 1, target: 9, access: 0 });
  });

  it('ends at the level where nothing is present', () => {
    const { tables } = tableWorld(4);
    tables.map(0, 9, 3);

    const levels = [1, 512, spanOf(3), spanOf(4)].map((page) => translateRadix(tables, page));

    expect(levels).toEqual([1, 2, 3, 4].map((level) => ({ kind: 'not-present', level })));
  });

  it('ends at a reserved bit with the fault of the format', () => {
    const { tables } = tableWorld(3);
    tables.setEntry(tables.tableAt(0, 1), 0, P | PS);

    expect(translateRadix(tables, 0)).toEqual({ kind: 'fault', level: 1, fault: RESERVED_FAULT });
  });

  it('ends at a table outside RAM with the fault of the format', () => {
    const { tables } = tableWorld(3);
    tables.setEntry(tables.root, 0, (0x5000 << 12) | P);

    expect(translateRadix(tables, 0)).toEqual({ kind: 'fault', level: 2, fault: outsideFault(2) });
  });

  it('finds nothing where a table that skips levels ends, wherever that table lies', () => {
    const { tables } = tableWorld(3);
    tables.setEntry(tables.root, 0, (0x5000 << 12) | (1 << SKIP_SHIFT) | P);

    expect(translateRadix(tables, 511).kind).toBe('fault');
    expect(translateRadix(tables, 512)).toEqual({ kind: 'not-present', level: 1 });
  });

  it('shows each entry that it reads', () => {
    const { tables } = tableWorld(3);
    tables.map(0x40205, 0x12345, 3);
    const steps: RadixStep[] = [];

    translateRadix(tables, 0x40205, (step) => steps.push(step));

    expect(steps).toEqual([
      { level: 3, table: TABLES_AT, index: 1, lo: tableEntry(TABLES_AT + 1), hi: 0, kind: EntryKind.Table },
      {
        level: 2,
        table: TABLES_AT + 1,
        index: 1,
        lo: tableEntry(TABLES_AT + 2),
        hi: 0,
        kind: EntryKind.Table,
      },
      { level: 1, table: TABLES_AT + 2, index: 5, lo: 0x12345007, hi: 0, kind: EntryKind.Leaf },
    ]);
  });

  it('shows an entry that is not present', () => {
    const { tables } = tableWorld(3);
    const kinds: EntryKind[] = [];

    translateRadix(tables, 0, (step) => kinds.push(step.kind));

    expect(kinds).toEqual([EntryKind.NotPresent]);
  });

  it('agrees with one in 64-bit arithmetic for any entries on its way', () => {
    const flags = fc.constantFrom(
      P | R | W,
      P | R,
      P,
      PS | P | R,
      PS | P | W,
      CONT | P | R,
      CONT | PS | P | R,
      0,
    );
    const onTheWay = fc.record({
      flags,
      skip: fc.constantFrom(0, 0, 0, 1, 2),
      to: fc.constantFrom<'next' | 'self' | 'outside' | 'aligned'>(
        'next',
        'next',
        'next',
        'self',
        'outside',
        'aligned',
      ),
      hi: fc.constantFrom(0, 0, 0, 0, 0x100000),
    });
    fc.assert(
      fc.property(
        fc.array(onTheWay, { minLength: 5, maxLength: 5 }),
        fc.array(fc.constantFrom<number>(0, 1, 255, 256, 511), { minLength: 5, maxLength: 5 }),
        fc.boolean(),
        (entries, indexes, top) => {
          const { tables, covered } = tableWorld(5, top);
          for (const [i, { flags, skip, to, hi }] of entries.entries()) {
            const pages = { next: TABLES_AT + i + 1, self: TABLES_AT + i, outside: 0x5000, aligned: 2 ** 19 };
            // All 512 entries, so that a table reached by another way has them too.
            for (let index = 0; index < 512; index++)
              tables.setEntry(
                TABLES_AT + i,
                index,
                (pages[to] * 4096 + flags + (skip << SKIP_SHIFT)) >>> 0,
                hi,
              );
          }
          const page = covered.start + indexes.reduce((sum, index, i) => sum + index * spanOf(5 - i), 0);

          const found = translateRadix(tables, page);
          const naive = naiveTranslate(tables, page);

          const plain =
            found.kind === 'leaf'
              ? [found.kind, found.iova, found.pages, found.target, found.access]
              : [found.kind, found.kind === 'fault' ? found.fault.code : 0];
          const expected =
            naive.kind === 'leaf'
              ? [naive.kind, naive.iova, naive.pages, naive.target, naive.access]
              : [naive.kind === 'hole' ? 'not-present' : naive.kind, naive.code];
          expect(plain).toEqual(expected);
        },
      ),
      { numRuns: 400 },
    );
  });
});
