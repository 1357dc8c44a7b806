import { Access } from '../../memory/index.ts';

const INITIAL = 1024;
/** In the flag byte, above the access of a mapping. */
const UNMAP = 4;

/** One map or unmap, in pages. */
export interface Operation {
  readonly op: 'map' | 'unmap';
  readonly iova: number;
  readonly pages: number;
  /** Of a map, the number of the first page of RAM. */
  readonly target: number;
  readonly access: Access;
}

/**
 * Operations that wait to be sent, first in, first out: 25 bytes each, because a replay hands over all of its mappings
 * in one turn and a server takes them at its own pace.
 */
export class OperationQueue {
  #iova = new Float64Array(INITIAL);
  #pages = new Float64Array(INITIAL);
  #target = new Float64Array(INITIAL);
  #flags = new Uint8Array(INITIAL);
  #first = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  map(iova: number, pages: number, target: number, access: Access): void {
    this.#push(iova, pages, target, access);
  }

  unmap(iova: number, pages: number): void {
    this.#push(iova, pages, 0, UNMAP);
  }

  /** Removes the oldest; undefined when there is none. */
  shift(): Operation | undefined {
    if (this.#length === 0) return undefined;
    const at = this.#first;
    this.#first = (at + 1) & (this.#iova.length - 1);
    this.#length--;
    const flags = this.#flags[at] as number;
    const operation: Operation = {
      op: flags === UNMAP ? 'unmap' : 'map',
      iova: this.#iova[at] as number,
      pages: this.#pages[at] as number,
      target: this.#target[at] as number,
      access: (flags & Access.ReadWrite) as Access,
    };
    // What one long replay took is not kept.
    if (this.#length === 0 && this.#iova.length > INITIAL) this.clear();
    return operation;
  }

  /** Forgets everything. */
  clear(): void {
    this.#first = 0;
    this.#length = 0;
    this.#resize(INITIAL);
  }

  #push(iova: number, pages: number, target: number, flags: number): void {
    const capacity = this.#iova.length;
    if (this.#length === capacity) this.#resize(capacity * 2);
    const at = (this.#first + this.#length) & (this.#iova.length - 1);
    this.#iova[at] = iova;
    this.#pages[at] = pages;
    this.#target[at] = target;
    this.#flags[at] = flags;
    this.#length++;
  }

  /** `capacity` is a power of two that has room for everything. */
  #resize(capacity: number): void {
    const first = this.#first;
    const length = this.#length;
    this.#iova = unrolled(this.#iova, new Float64Array(capacity), first, length);
    this.#pages = unrolled(this.#pages, new Float64Array(capacity), first, length);
    this.#target = unrolled(this.#target, new Float64Array(capacity), first, length);
    this.#flags = unrolled(this.#flags, new Uint8Array(capacity), first, length);
    this.#first = 0;
  }
}

/** `length` entries of the ring `from`, beginning at `first`, at the beginning of `to`. */
function unrolled<T extends Float64Array | Uint8Array>(from: T, to: T, first: number, length: number): T {
  const untilEnd = Math.min(length, from.length - first);
  to.set(from.subarray(first, first + untilEnd));
  to.set(from.subarray(0, length - untilEnd), untilEnd);
  return to;
}
