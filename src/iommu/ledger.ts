/**
 * The ledger: exactly what a sink was told and accepted, mapping by mapping.
 *
 * Sorted chunks of typed arrays under one index of first pages. A mapping takes 25 bytes; a full chunk passes entries
 * to a neighbour before it splits, which keeps chunks four fifths full under random inserts, and all but full when
 * mappings arrive in ascending order, as a replay sends them.
 *
 * @module
 */
import type { LeafBatch } from './leaf-batch.ts';

const CHUNK = 512;

/** What a ledger knows of a mapping: page numbers, and a flag byte whose two low bits are its access. */
export interface LedgerMapping {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  /** Bits 0-1 {@link Access}; the upper bits are the owner's. */
  readonly flags: number;
}

class Chunk {
  length = 0;
  readonly iova: Float64Array = new Float64Array(CHUNK);
  readonly pages: Float64Array = new Float64Array(CHUNK);
  readonly target: Float64Array = new Float64Array(CHUNK);
  readonly flags: Uint8Array = new Uint8Array(CHUNK);

  /** Moves `count` entries from `from` on to position `to` of `other`, which has the room. */
  moveTo(other: Chunk, from: number, to: number, count: number): void {
    other.shift(to, count);
    other.iova.set(this.iova.subarray(from, from + count), to);
    other.pages.set(this.pages.subarray(from, from + count), to);
    other.target.set(this.target.subarray(from, from + count), to);
    other.flags.set(this.flags.subarray(from, from + count), to);
    this.shift(from + count, -count);
  }

  /** Moves everything from position `at` on by `by` entries. */
  shift(at: number, by: number): void {
    if (at < this.length) {
      this.iova.copyWithin(at + by, at, this.length);
      this.pages.copyWithin(at + by, at, this.length);
      this.target.copyWithin(at + by, at, this.length);
      this.flags.copyWithin(at + by, at, this.length);
    }
    this.length += by;
  }

  set(at: number, iova: number, pages: number, target: number, flags: number): void {
    this.iova[at] = iova;
    this.pages[at] = pages;
    this.target[at] = target;
    this.flags[at] = flags;
  }

  /**
   * First position whose mapping ends after `page`, sought from position `guess` (0 to `length`, exclusive) on: a good
   * guess touches one or two cache lines, a bad one costs no more than halving does, twice.
   */
  lowerBound(page: number, guess: number): number {
    const iova = this.iova;
    let low = 0;
    let high = this.length;
    let step = 1;
    if (iova[guess]! <= page) {
      low = guess + 1;
      for (let at = low; at < high; at += step, step *= 2) {
        if (iova[at]! > page) high = at;
        else low = at + 1;
      }
    } else {
      high = guess;
      for (let at = high - 1; at >= low; at -= step, step *= 2) {
        if (iova[at]! <= page) low = at + 1;
        else high = at;
      }
    }
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (iova[middle]! <= page) low = middle + 1;
      else high = middle;
    }
    // The last mapping that begins at `page` or before it is the only one that can reach over it.
    return low > 0 && iova[low - 1]! + this.pages[low - 1]! > page ? low - 1 : low;
  }
}

/** Disjoint mappings ordered by IOVA. */
export class Ledger {
  readonly #chunks: Chunk[] = [];
  /** First page of each chunk, beside the chunks so that a search stays in one array. */
  readonly #firsts: number[] = [];
  #size = 0;

  /** Mappings held. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of storage held, for benchmarks. */
  get bytes(): number {
    return this.#chunks.length * CHUNK * 25;
  }

  /** Enters a mapping; false, and nothing entered, when it overlaps one that is there. */
  insert(iova: number, pages: number, target: number, flags: number): boolean {
    const cursor = this.cursor(iova);
    if (cursor.valid && cursor.iova < iova + pages) return false;
    cursor.insert(iova, pages, target, flags);
    return true;
  }

  /** Removes the mapping that begins at `iova` and has `pages` pages; false when there is none exactly so. */
  remove(iova: number, pages: number): boolean {
    const cursor = this.cursor(iova);
    if (!cursor.valid || cursor.iova !== iova || cursor.pages !== pages) return false;
    cursor.remove();
    return true;
  }

  /** The mapping that covers `page`. */
  find(page: number): LedgerMapping | undefined {
    const cursor = this.cursor(page);
    return cursor.valid && cursor.iova <= page ? cursor.mapping : undefined;
  }

  /** Mappings in ascending order, those that end after `from`. The ledger must not change meanwhile. */
  *mappings(from = 0): Iterable<LedgerMapping> {
    for (const cursor = this.cursor(from); cursor.valid; cursor.next()) yield cursor.mapping;
  }

  /** Forgets everything. */
  clear(): void {
    this.#chunks.length = 0;
    this.#firsts.length = 0;
    this.#size = 0;
  }

  /** A cursor at the first mapping that ends after `page`. One cursor at a time may change the ledger. */
  cursor(page: number): LedgerCursor {
    const cursor = new LedgerCursor(this, this.#chunks);
    this.seek(cursor, page);
    return cursor;
  }

  /** Moves `cursor` to the first mapping that ends after `page`. */
  seek(cursor: LedgerCursor, page: number): void {
    const firsts = this.#firsts;
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (firsts[middle]! <= page) low = middle + 1;
      else high = middle;
    }
    const at = Math.max(0, low - 1);
    const chunk = this.#chunks[at];
    const index = chunk === undefined ? 0 : chunk.lowerBound(page, this.#guess(at, page));
    if (chunk !== undefined && index === chunk.length) cursor.moveTo(at + 1, 0);
    else cursor.moveTo(at, index);
  }

  /** About where in chunk `at` a mapping of `page` is, if mappings lie evenly between its first page and the next chunk's. */
  #guess(at: number, page: number): number {
    const length = this.#chunks[at]!.length;
    const first = this.#firsts[at]!;
    const next =
      at + 1 < this.#firsts.length ? this.#firsts[at + 1]! : this.#chunks[at]!.iova[length - 1]! + 1;
    const guess = Math.floor(((page - first) / (next - first)) * length);
    return guess < 0 ? 0 : guess < length ? guess : length - 1;
  }

  /** Enters a mapping before position (`at`, `index`); the cursor's business. */
  insertAt(at: number, index: number, iova: number, pages: number, target: number, flags: number): void {
    let place = at;
    let position = index;
    // Before the first entry of a chunk is behind the last of the one before: that keeps ascending inserts appending.
    if (position === 0 && place > 0) {
      place--;
      position = this.#chunks[place]!.length;
    }
    let chunk = this.#chunks[place];
    if (chunk === undefined) {
      chunk = this.#addChunk(place, iova);
    } else if (chunk.length === CHUNK) {
      if (position === CHUNK && place === this.#chunks.length - 1) {
        place++;
        position = 0;
        chunk = this.#addChunk(place, iova);
      } else {
        this.#makeRoom(place);
        if (position > chunk.length) {
          position -= chunk.length;
          place++;
          chunk = this.#chunks[place]!;
        }
      }
    }
    chunk.shift(position, 1);
    chunk.set(position, iova, pages, target, flags);
    if (position === 0) this.#firsts[place] = iova;
    this.#size++;
  }

  /** Removes the mapping at position (`at`, `index`); the cursor's business. */
  removeAt(at: number, index: number): void {
    const chunk = this.#chunks[at]!;
    chunk.shift(index + 1, -1);
    this.#size--;
    if (chunk.length === 0) {
      this.#chunks.splice(at, 1);
      this.#firsts.splice(at, 1);
      return;
    }
    if (index === 0) this.#firsts[at] = chunk.iova[0]!;
    this.#joinWithNext(at);
    if (at > 0) this.#joinWithNext(at - 1);
  }

  #addChunk(at: number, first: number): Chunk {
    const chunk = new Chunk();
    this.#chunks.splice(at, 0, chunk);
    this.#firsts.splice(at, 0, first);
    return chunk;
  }

  /** Passes entries of a full chunk to its right neighbour, or to a new one when that is nearly full too. */
  #makeRoom(at: number): void {
    const chunk = this.#chunks[at]!;
    let right = this.#chunks[at + 1];
    if (right === undefined || right.length > CHUNK - CHUNK / 8) right = this.#addChunk(at + 1, 0);
    const count = (chunk.length - right.length) >>> 1;
    chunk.moveTo(right, chunk.length - count, 0, count);
    this.#firsts[at + 1] = right.iova[0]!;
  }

  /** Two neighbours that fit into half a chunk become one, so that removals give memory back. */
  #joinWithNext(at: number): void {
    const chunk = this.#chunks[at]!;
    const right = this.#chunks[at + 1];
    if (right === undefined || chunk.length + right.length > CHUNK / 2) return;
    right.moveTo(chunk, 0, chunk.length, right.length);
    this.#chunks.splice(at + 1, 1);
    this.#firsts.splice(at + 1, 1);
  }
}

/** A place between mappings of a ledger, from which they are compared, removed and entered in ascending order. */
export class LedgerCursor {
  readonly #ledger: Ledger;
  readonly #chunks: readonly Chunk[];
  #at = 0;
  #index = 0;

  /** Made by {@link Ledger.cursor}. */
  constructor(ledger: Ledger, chunks: readonly Chunk[]) {
    this.#ledger = ledger;
    this.#chunks = chunks;
  }

  /** Whether there is a mapping at the cursor. */
  get valid(): boolean {
    return this.#at < this.#chunks.length;
  }

  /** First page of the mapping at the cursor, which must be valid; likewise the following. */
  get iova(): number {
    return this.#chunks[this.#at]!.iova[this.#index]!;
  }

  get pages(): number {
    return this.#chunks[this.#at]!.pages[this.#index]!;
  }

  get target(): number {
    return this.#chunks[this.#at]!.target[this.#index]!;
  }

  get flags(): number {
    return this.#chunks[this.#at]!.flags[this.#index]!;
  }

  /** A copy of the mapping at the cursor. */
  get mapping(): LedgerMapping {
    return { iova: this.iova, pages: this.pages, target: this.target, flags: this.flags };
  }

  /** Changes the flags of the mapping at the cursor. */
  setFlags(flags: number): void {
    this.#chunks[this.#at]!.flags[this.#index] = flags;
  }

  /** To the next mapping. */
  next(): void {
    this.#index++;
    if (this.#index === this.#chunks[this.#at]!.length) this.moveTo(this.#at + 1, 0);
  }

  /** To a position; the ledger's business. */
  moveTo(at: number, index: number): void {
    this.#at = at;
    this.#index = index;
  }

  /** Removes the mapping at the cursor, which then is at the one that followed. */
  remove(): void {
    const page = this.iova;
    this.#ledger.removeAt(this.#at, this.#index);
    this.#ledger.seek(this, page);
  }

  /** Enters a mapping before the cursor, which stays at the same mapping as before. The caller has seen that nothing overlaps. */
  insert(iova: number, pages: number, target: number, flags: number): void {
    this.#ledger.insertAt(this.#at, this.#index, iova, pages, target, flags);
    this.#ledger.seek(this, iova + pages);
  }

  /**
   * Passes over the leaves of `batch` from `from` on that stand in the ledger just so, one behind the other, and
   * returns the index of the first that does not (the batch's length when all do). This loop is the cost of an
   * unchanged reconcile.
   */
  skipEqual(batch: LeafBatch, from: number): number {
    const { length } = batch;
    let i = from;
    while (i < length && this.#at < this.#chunks.length) {
      const chunk = this.#chunks[this.#at]!;
      const begin = this.#index;
      const count = Math.min(length - i, chunk.length - begin);
      const n = isSamePages(chunk, begin, batch, i, count)
        ? equalTargets(chunk, begin, batch, i, count)
        : equalMappings(chunk, begin, batch, i, count);
      i += n;
      this.#index += n;
      if (this.#index < chunk.length) return i;
      this.moveTo(this.#at + 1, 0);
    }
    return i;
  }
}

/**
 * Whether `count` mappings and `count` leaves are one and the same run of single pages. Mappings do not overlap: as many
 * of them as there are pages from the first to the last are each one page.
 */
function isSamePages(chunk: Chunk, begin: number, batch: LeafBatch, from: number, count: number): boolean {
  const first = batch.iova[from]!;
  const last = first + count - 1;
  return (
    batch.pages === 1 &&
    batch.iova[from + count - 1] === last &&
    chunk.iova[begin] === first &&
    chunk.iova[begin + count - 1] === last &&
    chunk.pages[begin + count - 1] === 1
  );
}

/** How many of the first `count` lead to the same target with the same access. */
function equalTargets(chunk: Chunk, begin: number, batch: LeafBatch, from: number, count: number): number {
  const { target: chunkTarget, flags: chunkFlags } = chunk;
  const { target, access } = batch;
  let n = 0;
  while (
    n < count &&
    chunkTarget[begin + n] === target[from + n] &&
    chunkFlags[begin + n] === access[from + n]
  ) {
    n++;
  }
  return n;
}

/** How many of the first `count` are equal in everything. */
function equalMappings(chunk: Chunk, begin: number, batch: LeafBatch, from: number, count: number): number {
  const { iova: chunkIova, pages: chunkPages, target: chunkTarget, flags: chunkFlags } = chunk;
  const { iova, pages, target, access } = batch;
  let n = 0;
  while (
    n < count &&
    chunkIova[begin + n] === iova[from + n] &&
    chunkTarget[begin + n] === target[from + n] &&
    chunkPages[begin + n] === pages &&
    chunkFlags[begin + n] === access[from + n]
  ) {
    n++;
  }
  return n;
}
