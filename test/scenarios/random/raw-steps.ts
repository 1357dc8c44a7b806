import { PageCursor } from '../../../src/memory/index.ts';
import { type NaiveLeaf, spanOf } from '../naive/domain.ts';
import { leafEntry, tableEntry } from './entries.ts';
import { pageAt, targetOf } from './layout.ts';
import type { Domain, RunState } from './state.ts';
import type { Place, RawEdit } from './steps.ts';

/** Levels that have leaves. */
const LEAF_LEVELS = 3;

/** An entry of a table, and the range of pages that it covers. */
interface Entry {
  readonly domain: Domain;
  readonly table: number;
  readonly index: number;
  readonly level: number;
  readonly first: number;
  readonly span: number;
}

/** Writes table entries behind the driver's back. The unit is not told. */
export class RawSteps {
  readonly #state: RunState;

  constructor(state: RunState) {
    this.#state = state;
  }

  /** Changes the entry at `level` on the way to `place`; nothing when the way ends above it. */
  edit(domain: Domain, place: Place, level: number, edit: RawEdit): void {
    const { vtd, naive, raw } = domain;
    if (level > naive.levels) return;
    const span = spanOf(level);
    const first = Math.floor(pageAt(place, vtd.end) / span) * span;
    const table = vtd.tables?.tableAt(first, level);
    if (table === undefined) return;
    const entry = { domain, table, index: (first / span) % 512, level, first, span };
    if (this.#change(entry, edit)) raw.push({ start: first, end: first + span });
  }

  #change(entry: Entry, edit: RawEdit): boolean {
    const { first, span, level, domain } = entry;
    const leaf = domain.naive.rawAt(first);
    const here = leaf?.pages === span ? leaf : undefined;
    const target = 'target' in edit ? Math.floor(targetOf(edit.target, first) / span) * span : 0;
    switch (edit.raw) {
      case 'leaf':
        return this.#leaf(entry, { iova: first, pages: span, target, access: edit.access });
      case 'bad':
        return this.#leaf(entry, { iova: first, pages: span, target, access: 3, bad: true });
      case 'clear':
        this.#write(entry, [0, 0]);
        domain.naive.replace({ start: first, end: first + span }, [], this.#state.step);
        return true;
      case 'restrict':
        return here === undefined
          ? this.#restrictTable(entry, edit.access)
          : this.#leaf(entry, { ...here, access: edit.access });
      case 'split':
        return (
          here !== undefined && here.bad !== true && this.#table(entry, 0, 512, here.target, here.access)
        );
      case 'table':
        return level <= LEAF_LEVELS && this.#table(entry, edit.at, edit.count, target, 3);
      case 'pages':
        return this.#run(entry, edit.count, target, edit.access);
    }
  }

  #leaf(entry: Entry, leaf: NaiveLeaf): boolean {
    if (entry.level > LEAF_LEVELS) return false;
    this.#write(entry, leafEntry(leaf));
    entry.domain.naive.put([leaf], this.#state.step);
    return true;
  }

  /** Leaves the table, and lets it allow less. */
  #restrictTable(entry: Entry, access: number): boolean {
    const [lo, hi] = this.#read(entry);
    if (entry.level === 1 || (lo & 3) === 0) return false;
    this.#write(entry, [(lo & ~3) | access, hi]);
    entry.domain.naive.restrict(entry.level, entry.first, access, this.#state.step);
    return true;
  }

  /** A new table with `count` leaves from its entry `at` on. */
  #table(entry: Entry, at: number, count: number, target: number, access: number): boolean {
    const { first, span, level, domain } = entry;
    if (level === 1) return false;
    const below = span / 512;
    const leaves = Array.from({ length: Math.min(count, 512 - at) }, (_, i) => ({
      iova: first + (at + i) * below,
      pages: below,
      target: target + i * below,
      access,
    }));
    const page = this.#state.driver.allocatePage();
    for (const [i, leaf] of leaves.entries()) {
      this.#write({ ...entry, table: page, index: at + i }, leafEntry(leaf));
    }
    this.#write(entry, tableEntry(page));
    domain.naive.replace({ start: first, end: first + span }, leaves, this.#state.step);
    return true;
  }

  /** Neighbouring entries of one table. */
  #run(entry: Entry, count: number, target: number, access: number): boolean {
    const { first, span, index, domain } = entry;
    for (let i = 0; i < Math.min(count, 512 - index); i++) {
      const leaf = { iova: first + i * span, pages: span, target: target + i * span, access };
      if (!this.#leaf({ ...entry, index: index + i }, leaf)) return false;
      if (i > 0) domain.raw.push({ start: leaf.iova, end: leaf.iova + span });
    }
    return true;
  }

  #write({ table, index }: Entry, [lo, hi]: readonly [lo: number, hi: number]): void {
    this.#state.driver.writeEntry(table, index, lo, hi);
  }

  #read({ table, index }: Entry): readonly [lo: number, hi: number] {
    const cursor = new PageCursor();
    this.#state.guest.memory.locate(table, cursor);
    const at = cursor.base + index * 2;
    return [cursor.words[at] ?? 0, cursor.words[at + 1] ?? 0];
  }
}
