import type { Access } from '../../memory/index.ts';
import type { Operation } from './operation-queue.ts';
import type { Stretch } from './stretches.ts';

/**
 * Operations that the server may owe an answer for. A replay hands over all of its mappings in one turn, 0.5 µs each, and
 * so many keep the server busy meanwhile. A power of two.
 */
export const ON_THE_WAY = 32_768;
/** Room at first. */
const INITIAL = 1024;

const UNANSWERED = -1;
/** In the flag byte, above the access of a mapping. */
const UNMAP = 4;
const ENTERED = 8;
const CLOSED_FILE = 16;

/** An operation that was sent, and is answered. */
export interface AnsweredOperation extends Operation {
  readonly stretch: Stretch;
  /** Of a map: whether the ledger had it before it was answered. */
  readonly entered: boolean;
  readonly errno: number;
  /** Whether it was refused here, because the file of its RAM was closed. */
  readonly closedFile: boolean;
}

/**
 * What was sent and has not taken effect yet, oldest first, answered or not. In a ring of arrays: an object for each
 * lives until the answer, and the garbage collector would copy all of them again and again.
 */
export class SentOperations {
  #iova = new Float64Array(INITIAL);
  #pages = new Float64Array(INITIAL);
  #target = new Float64Array(INITIAL);
  #flags = new Uint8Array(INITIAL);
  #errno = new Int32Array(INITIAL);
  #stretch = new Array<Stretch | undefined>(INITIAL).fill(undefined);
  /** The number of the oldest: the slot of one is its number, cut to the capacity, which is a power of two. */
  #first = 0;
  #length = 0;
  /** Maps among them that the ledger has not. */
  #notEntered = 0;

  get length(): number {
    return this.#length;
  }

  /** Adds one; its number, by which it is answered. There are at most {@link ON_THE_WAY}. */
  add({ op, iova, pages, target, access }: Operation, stretch: Stretch, entered: boolean): number {
    if (this.#length === this.#iova.length) this.#resize(this.#length * 2);
    const number = this.#first + this.#length++;
    const slot = this.#slot(number);
    this.#iova[slot] = iova;
    this.#pages[slot] = pages;
    this.#target[slot] = target;
    this.#flags[slot] = op === 'unmap' ? UNMAP : access | (entered ? ENTERED : 0);
    this.#errno[slot] = UNANSWERED;
    this.#stretch[slot] = stretch;
    if (op === 'map' && !entered) this.#notEntered++;
    return number;
  }

  /** Operation `number` was answered with `errno`, 0 when it was done. */
  answer(number: number, errno: number): void {
    this.#errno[this.#slot(number)] = errno;
  }

  /** Operation `number` was not sent, because the file of its RAM was closed. */
  refuseClosed(number: number, errno: number): void {
    const slot = this.#slot(number);
    this.#flags[slot] = this.#flags[slot]! | CLOSED_FILE;
    this.#errno[slot] = errno;
  }

  /** Takes the oldest out, if it was answered. */
  shift(): AnsweredOperation | undefined {
    const slot = this.#slot(this.#first);
    if (this.#length === 0 || this.#errno[slot] === UNANSWERED) return undefined;
    this.#first++;
    this.#length--;
    const flags = this.#flags[slot]!;
    const stretch = this.#stretch[slot]!;
    this.#stretch[slot] = undefined;
    const entered = (flags & ENTERED) !== 0;
    if ((flags & UNMAP) === 0 && !entered) this.#notEntered--;
    return {
      op: (flags & UNMAP) === 0 ? 'map' : 'unmap',
      iova: this.#iova[slot]!,
      pages: this.#pages[slot]!,
      target: this.#target[slot]!,
      access: (flags & 3) as Access,
      stretch,
      entered,
      errno: this.#errno[slot]!,
      closedFile: (flags & CLOSED_FILE) !== 0,
    };
  }

  /** The newest map of `page` that the ledger has not and that was not refused. */
  findMap(page: number): Pick<Operation, 'iova' | 'pages' | 'target' | 'access'> | undefined {
    if (this.#notEntered === 0) return undefined;
    for (let i = this.#length - 1; i >= 0; i--) {
      const slot = this.#slot(this.#first + i);
      const flags = this.#flags[slot]!;
      const iova = this.#iova[slot]!;
      const pages = this.#pages[slot]!;
      if ((flags & (UNMAP | ENTERED)) !== 0 || this.#errno[slot]! > 0) continue;
      if (iova > page || page >= iova + pages) continue;
      return { iova, pages, target: this.#target[slot]!, access: (flags & 3) as Access };
    }
    return undefined;
  }

  /** Forgets everything. */
  clear(): void {
    this.#first = 0;
    this.#length = 0;
    this.#notEntered = 0;
    this.#resize(INITIAL);
  }

  #slot(number: number): number {
    return number & (this.#iova.length - 1);
  }

  /** `capacity` is a power of two that has room for everything. */
  #resize(capacity: number): void {
    const [first, end] = [this.#first, this.#first + this.#length];
    this.#iova = replaced(this.#iova, new Float64Array(capacity), first, end);
    this.#pages = replaced(this.#pages, new Float64Array(capacity), first, end);
    this.#target = replaced(this.#target, new Float64Array(capacity), first, end);
    this.#flags = replaced(this.#flags, new Uint8Array(capacity), first, end);
    this.#errno = replaced(this.#errno, new Int32Array(capacity), first, end);
    const stretches = new Array<Stretch | undefined>(capacity).fill(undefined);
    this.#stretch = replaced(this.#stretch, stretches, first, end);
  }
}

/** The entries of the numbers `first` to `end`, exclusive, in the ring `to` where they are in `from`. */
function replaced<T extends { [slot: number]: unknown; readonly length: number }>(
  from: T,
  to: T,
  first: number,
  end: number,
): T {
  for (let number = first; number < end; number++) {
    to[number & (to.length - 1)] = from[number & (from.length - 1)];
  }
  return to;
}
