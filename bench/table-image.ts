/**
 * Guest memory with the tables of a VT-d unit in legacy mode, as one image that viommu and the C floor both read.
 *
 *     page 0   header: words 0-3 are the root table's page, the levels, the first leaf's page, the number of leaves
 *     page 1   root table
 *     page 2   context table of bus 0
 *     page 3   top second-stage table
 *     page 4   further tables, in the order in which they were needed
 *
 * @module
 */
import { requesterId } from '../src/iommu/index.ts';
import * as spec from '../src/models/vtd/spec/index.ts';

/** Whose tables they are. */
export const REQUESTER: number = requesterId(0, 1, 0);

/** First page of the RAM that leaves point to; the image itself is the RAM from page 0 on. */
export const DATA_START = 0x100000;

/** Pages of that RAM: 16 GiB. */
export const DATA_PAGES: number = 2 ** 22;

const ROOT_TABLE = 1;
const CONTEXT_TABLE = 2;
const TOP_TABLE = 3;
const FIRST_IOVA = 0x100000;
const WORDS = 1024;

/** What an image holds. */
export interface ImageOptions {
  /** 4 KiB leaves, one behind the other. */
  readonly leaves: number;
  /** 4 for 48-bit addresses, 5 for 57-bit ones. */
  readonly levels?: 4 | 5;
}

/** An image, to build and to look things up in. */
export class TableImage {
  readonly buffer: ArrayBuffer;
  readonly #words: Uint32Array;

  /** `buffer` is an image and stays shared with it. */
  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Uint32Array(buffer);
  }

  /** Page of the root table. */
  get rootTable(): number {
    return this.#words[0];
  }

  get levels(): number {
    return this.#words[1];
  }

  /** Page of the input space that the first leaf translates. */
  get firstIova(): number {
    return this.#words[2];
  }

  /** Leaves, each of one page. */
  get leaves(): number {
    return this.#words[3];
  }

  /** Page of the top second-stage table. */
  get topTable(): number {
    return TOP_TABLE;
  }

  /** The memory, to change entries in. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** Index of the low word of the leaf entry for `iova`, which must be mapped. */
  leafWord(iova: number): number {
    let table = TOP_TABLE;
    for (let level = this.levels; level > 1; level--)
      table = this.#words[entryWord(table, iova, level)] >>> 12;
    return entryWord(table, iova, 1);
  }
}

/** Builds the image of a guest that has mapped `leaves` pages: scattered targets, every eighth read-only. */
export function buildImage(options: ImageOptions): TableImage {
  const { leaves, levels = 4 } = options;
  const pages = TOP_TABLE + 1 + levels + Math.ceil(leaves / 512) + Math.ceil(leaves / 512 ** 2);
  const words = new Uint32Array(pages * WORDS);
  words.set([ROOT_TABLE, levels, FIRST_IOVA, leaves]);
  words[ROOT_TABLE * WORDS] = CONTEXT_TABLE * 4096 + spec.ENTRY_P;
  const context = CONTEXT_TABLE * WORDS + (REQUESTER & 0xff) * spec.CONTEXT_ENTRY_WORDS;
  words[context] = TOP_TABLE * 4096 + spec.ENTRY_P;
  words[context + 2] = (1 << 8) | (levels - 2);
  let free = TOP_TABLE + 1;
  for (let i = 0; i < leaves; i++) {
    const iova = FIRST_IOVA + i;
    let table = TOP_TABLE;
    for (let level = levels; level > 1; level--) {
      const at = entryWord(table, iova, level);
      if (words[at] === 0) words[at] = free++ * 4096 + (spec.SS_R | spec.SS_W);
      table = words[at] >>> 12;
    }
    const target = DATA_START + (Math.imul(i, 0x9e3779b1) & (DATA_PAGES - 1));
    const at = entryWord(table, iova, 1);
    words[at] = (target % 0x100000) * 4096 + (i % 8 === 7 ? spec.SS_R : spec.SS_R | spec.SS_W);
    words[at + 1] = Math.floor(target / 0x100000);
  }
  return new TableImage(words.buffer);
}

function entryWord(table: number, iova: number, level: number): number {
  return table * WORDS + (Math.floor(iova / 512 ** (level - 1)) % 512) * 2;
}
