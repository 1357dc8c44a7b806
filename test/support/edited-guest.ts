import { NaiveGuest } from '../reference/naive-guest.ts';
import { P, R, W } from './test-format.ts';
import type { TableWriter } from './table-writer.ts';

/** Pages of a slot: of a leaf at level 2, or of a table of level 1. */
export const SLOT_PAGES = 512;
const CONTIGUOUS = 16;

/** One change of the guest's tables. `slot` counts level-2 entries from the guest's origin, `at` pages within one. */
export type GuestEdit =
  | { readonly edit: 'pages'; slot: number; at: number; count: number; target: number; access: number }
  | { readonly edit: 'contiguous'; slot: number; at: number; target: number; access: number }
  | { readonly edit: 'clear'; slot: number; at: number; count: number }
  | { readonly edit: 'large'; slot: number; target: number; access: number }
  | { readonly edit: 'drop'; slot: number }
  | { readonly edit: 'split'; slot: number }
  | { readonly edit: 'restrict'; slot: number; access: number };

interface Page {
  readonly target: number;
  readonly access: number;
  readonly contiguous: boolean;
}

type Slot =
  | { kind: 'none' }
  | { kind: 'large'; target: number; access: number }
  | { kind: 'table'; access: number; pages: (Page | undefined)[] };

/** A guest that changes its tables, and says the same to the reference. */
export class EditedGuest {
  readonly reference: NaiveGuest = new NaiveGuest();
  readonly origin: number;
  readonly #tables: TableWriter;
  readonly #slots: Slot[];

  /** `origin` is the first page of slot 0. */
  constructor(tables: TableWriter, origin: number, slots: number) {
    this.#tables = tables;
    this.origin = origin;
    this.#slots = Array.from({ length: slots }, () => ({ kind: 'none' }));
  }

  apply(edit: GuestEdit): void {
    const base = this.origin + edit.slot * SLOT_PAGES;
    const slot = this.#slots[edit.slot];
    switch (edit.edit) {
      case 'pages':
        for (let i = 0; i < edit.count && edit.at + i < SLOT_PAGES; i++)
          this.#setPage(edit.slot, edit.at + i, edit.target + i, edit.access);
        break;
      case 'contiguous': {
        const at = edit.at - (edit.at % CONTIGUOUS);
        const target = edit.target - (edit.target % CONTIGUOUS);
        for (let i = 0; i < CONTIGUOUS; i++) this.#clearPage(edit.slot, at + i);
        this.#tables.mapContiguous(base + at, target, edit.access);
        const { pages } = this.#tableOf(edit.slot);
        for (let i = 0; i < CONTIGUOUS; i++)
          pages[at + i] = { target: target + i, access: edit.access, contiguous: true };
        break;
      }
      case 'clear':
        for (let i = 0; i < edit.count && edit.at + i < SLOT_PAGES; i++)
          this.#clearPage(edit.slot, edit.at + i);
        break;
      case 'large':
        this.#slots[edit.slot] = { kind: 'large', target: edit.target, access: edit.access };
        this.#tables.map(base, edit.target, edit.access, 2);
        break;
      case 'drop':
        this.#slots[edit.slot] = { kind: 'none' };
        this.#tables.clear(base, 2);
        break;
      case 'split':
        if (slot.kind === 'large') {
          const { target, access } = slot;
          for (let i = 0; i < SLOT_PAGES; i++) this.#setPage(edit.slot, i, target + i, access);
        }
        break;
      case 'restrict':
        if (slot.kind === 'large') {
          slot.access = edit.access;
          this.#tables.map(base, slot.target, edit.access, 2);
        } else if (slot.kind === 'table') {
          slot.access = edit.access;
          const table = this.#tables.tableAt(base, 1);
          const upper = this.#tables.tableAt(base, 2);
          this.#tables.setEntry(
            upper,
            this.#tables.indexOf(base, 2),
            ((table << 12) | (edit.access << 1) | P) >>> 0,
          );
        }
    }
    this.#tellReference(edit.slot);
  }

  #setPage(slot: number, at: number, target: number, access: number): void {
    this.#clearPage(slot, at);
    this.#tables.map(this.origin + slot * SLOT_PAGES + at, target, access);
    this.#tableOf(slot).pages[at] = { target, access, contiguous: false };
  }

  /** Clearing one of sixteen contiguous entries clears all, as the architectures that have them ask. */
  #clearPage(slot: number, at: number): void {
    const { pages } = this.#tableOf(slot);
    const contiguous = pages[at]?.contiguous === true;
    const first = contiguous ? at - (at % CONTIGUOUS) : at;
    for (let i = first; i < first + (contiguous ? CONTIGUOUS : 1); i++) {
      this.#tables.clear(this.origin + slot * SLOT_PAGES + i);
      pages[i] = undefined;
    }
  }

  /** The slot as a table; a large leaf that is in its place is gone. */
  #tableOf(slot: number): Extract<Slot, { kind: 'table' }> {
    const there = this.#slots[slot];
    if (there.kind === 'table') return there;
    const fresh: Slot = { kind: 'table', access: 3, pages: new Array<undefined>(SLOT_PAGES).fill(undefined) };
    this.#slots[slot] = fresh;
    const base = this.origin + slot * SLOT_PAGES;
    const table = this.#tables.allocateTable();
    const upper = this.#tables.tableAt(base, 2);
    this.#tables.setEntry(upper, this.#tables.indexOf(base, 2), ((table << 12) | W | R | P) >>> 0);
    return fresh;
  }

  #tellReference(index: number): void {
    const base = this.origin + index * SLOT_PAGES;
    const slot = this.#slots[index];
    this.reference.unmap(base, SLOT_PAGES);
    if (slot.kind === 'large') this.reference.map(base, SLOT_PAGES, slot.target, slot.access);
    if (slot.kind !== 'table') return;
    slot.pages.forEach((page, i) => {
      if (page === undefined) return;
      const pages = page.contiguous ? CONTIGUOUS : 1;
      if (i % pages === 0) this.reference.map(base + i, pages, page.target, page.access & slot.access);
    });
  }
}
