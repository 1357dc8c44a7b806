/** The IOTLB: translations remembered until the guest invalidates them. @module */
import type { IommuTlbEntry, PageRange } from '../memory/index.ts';
import type { Access } from '../memory/index.ts';

const SLOTS = 1024;
const EMPTY = -1;

/** Leaves of one size: direct-mapped, so that it never takes more memory whatever a guest touches. */
class SizeClass {
  readonly pages: number;
  readonly tag: Float64Array = new Float64Array(SLOTS).fill(EMPTY);
  readonly index: Uint32Array = new Uint32Array(SLOTS);
  readonly target: Float64Array = new Float64Array(SLOTS);
  readonly access: Uint8Array = new Uint8Array(SLOTS);

  constructor(pages: number) {
    this.pages = pages;
  }

  /** The index is no part of the place: an invalidation need not know which indexes are cached. */
  slot(leaf: number): number {
    return leaf % SLOTS;
  }

  invalidate(range: PageRange): void {
    const first = Math.floor(range.start / this.pages);
    const last = Math.ceil(range.end / this.pages);
    if (last - first >= SLOTS) {
      this.tag.fill(EMPTY);
      return;
    }
    for (let leaf = first; leaf < last; leaf++) {
      const slot = this.slot(leaf);
      if (this.tag[slot] === leaf) this.tag[slot] = EMPTY;
    }
  }
}

/**
 * Remembers leaves by size and translation index. Invalidating any page of a leaf forgets the whole leaf, as the
 * specifications ask. What is not present is never remembered.
 */
export class Iotlb {
  readonly #classes: SizeClass[] = [];

  /** The leaf that covers `page` and allows `access`, or undefined. */
  lookup(page: number, access: Access, index: number): IommuTlbEntry | undefined {
    for (const sizeClass of this.#classes) {
      const pages = sizeClass.pages;
      const leaf = Math.floor(page / pages);
      const slot = sizeClass.slot(leaf);
      if (sizeClass.tag[slot] !== leaf || sizeClass.index[slot] !== index) continue;
      const cached = sizeClass.access[slot] as Access;
      if (cached === 0 || (cached & access) !== access) continue;
      return { iova: leaf * pages, pages, target: sizeClass.target[slot]!, access: cached };
    }
    return undefined;
  }

  /** Remembers `entry` with the permissions `access`; entries that are no aligned power of two are left out. */
  insert(entry: IommuTlbEntry, access: Access, index: number): void {
    const log = Math.log2(entry.pages);
    if (access === 0 || !Number.isInteger(log) || entry.iova % entry.pages !== 0) return;
    let sizeClass = this.#classes.find((candidate) => candidate.pages === entry.pages);
    if (sizeClass === undefined) {
      sizeClass = new SizeClass(entry.pages);
      this.#classes.push(sizeClass);
    }
    const leaf = entry.iova / entry.pages;
    const slot = sizeClass.slot(leaf);
    sizeClass.tag[slot] = leaf;
    sizeClass.index[slot] = index;
    sizeClass.target[slot] = entry.target;
    sizeClass.access[slot] = access;
  }

  /** Forgets every leaf that has a page in `range`, for every index. */
  invalidate(range: PageRange): void {
    for (const sizeClass of this.#classes) sizeClass.invalidate(range);
  }
}
