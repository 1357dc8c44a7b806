/** One address through a radix table, step by step. @module */
import { Access, PageCursor, type TranslationFault } from '../memory/index.ts';
import { DecodedEntry, EntryKind, type RadixTable } from './table-format.ts';

/** One table entry that a translation read. */
export interface RadixStep {
  /** Level of the table; a 4 KiB leaf is at level 1. */
  readonly level: number;
  /** Page of the table, in the memory that the table is read from. */
  readonly table: number;
  /** Index of the entry, 0 to 511. */
  readonly index: number;
  /** The entry's low and high word. */
  readonly lo: number;
  readonly hi: number;
  readonly kind: EntryKind;
}

/** Where a translation ended. */
export type RadixLookup =
  | {
      readonly kind: 'leaf';
      /** First page that the leaf covers, its size, and where it lies. */
      readonly iova: number;
      readonly pages: number;
      readonly target: number;
      /** What all levels together allow. */
      readonly access: number;
    }
  | { readonly kind: 'not-present'; readonly level: number }
  | { readonly kind: 'fault'; readonly level: number; readonly fault: TranslationFault };

/** Takes the entry at each level; a tracer lists them, a model sets accessed bits through them. */
export type StepVisitor = (step: RadixStep) => void;

/** Follows `page` of the input space, which must lie within what the root table covers, down to its leaf. */
export function translateRadix(table: RadixTable, page: number, visit?: StepVisitor): RadixLookup {
  const { format, memory } = table;
  const cursor = new PageCursor();
  const entry = new DecodedEntry();
  let level = table.levels;
  let tablePage = table.root;
  let base = table.base;
  let access: number = table.access ?? Access.ReadWrite;
  // Levels only descend, so a table that points at itself ends here too.
  for (;;) {
    const span = format.span(level);
    const index = Math.floor((page - base) / span);
    // A format that skips levels leaves addresses that no table below stands for.
    if (index > 511) return { kind: 'not-present', level };
    if (!memory.locate(tablePage, cursor)) return { kind: 'fault', level, fault: format.outsideRam(level) };
    const at = cursor.base + index * 2;
    const lo = cursor.words[at]!;
    const hi = cursor.words[at + 1]!;
    if ((lo & format.presentMask) === 0) entry.notPresent();
    else format.decode(lo, hi, level, entry);
    visit?.({ level, table: tablePage, index, lo, hi, kind: entry.kind });
    switch (entry.kind) {
      case EntryKind.NotPresent:
        return { kind: 'not-present', level };
      case EntryKind.Fault:
        return { kind: 'fault', level, fault: entry.fault! };
      case EntryKind.Leaf: {
        const pages = entry.pages;
        access &= entry.access;
        return { kind: 'leaf', iova: Math.floor(page / pages) * pages, pages, target: entry.page, access };
      }
      case EntryKind.Table:
        access &= entry.access;
        base += index * span;
        tablePage = entry.page;
        level = entry.nextLevel;
    }
  }
}
