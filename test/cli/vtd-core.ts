import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { buildElf } from '../guests/build-elf.ts';

const R = 1;
const W = 2;
const PS = 0x80;

/**
 * VT-d tables in a few pages of guest memory, written entry by entry as the specification's figures have them and
 * without the code under test. The root table is page 1.
 */
export class VtdCore {
  readonly root = 1;
  readonly #words: Uint32Array;
  readonly #pages: number;
  #next = 2;

  constructor(pages = 32) {
    this.#pages = pages;
    this.#words = new Uint32Array(pages * 1024);
  }

  /** A page of zeros for a table. */
  page(): number {
    return this.#next++;
  }

  /** The 64-bit entry `index` of the table at `page`. */
  set(page: number, index: number, lo: number, hi = 0): this {
    this.#words[page * 1024 + index * 2] = lo;
    this.#words[page * 1024 + index * 2 + 1] = hi;
    return this;
  }

  /** All 512 entries of the table at `page`. */
  fill(page: number, lo: number, hi = 0): this {
    for (let i = 0; i < 512; i++) this.set(page, i, lo, hi);
    return this;
  }

  /** A context table for `bus` (legacy mode); the page of an existing one when given. */
  bus(bus: number, contextTable: number = this.page()): number {
    this.set(this.root, bus * 2, contextTable * 4096 + 1);
    return contextTable;
  }

  /** A legacy context entry: TT, AW and domain, second-stage tables at page `tables`. */
  context(
    contextTable: number,
    devfn: number,
    tables: number,
    how: { tt?: number; aw?: number; did?: number } = {},
  ): this {
    const { tt = 0, aw = 2, did = 1 } = how;
    return this.set(contextTable, devfn * 2, (tables * 4096 + tt * 4 + 1) >>> 0).set(
      contextTable,
      devfn * 2 + 1,
      did * 256 + aw,
    );
  }

  /** Scalable mode: root entry, context entry, PASID directory and table for `requester` with this PASID-table entry. */
  scalable(
    requester: number,
    entry: { pgtt: number; second?: number; first?: number; aw?: number; did?: number },
    pasid = 0,
  ): this {
    const [context, directory, table] = [this.page(), this.page(), this.page()];
    const [bus, devfn] = [requester >> 8, requester & 0xff];
    this.set(this.root, bus * 2 + (devfn >> 7), context * 4096 + 1);
    // PASIDE (bit 3), and the smallest directory.
    this.set(context, (devfn & 0x7f) * 4, directory * 4096 + 8 + 1);
    this.set(directory, pasid >> 6, table * 4096 + 1);
    const at = (pasid & 63) * 8;
    const { pgtt, second = 0, first = 0, aw = 2, did = 1 } = entry;
    this.set(table, at, second * 4096 + pgtt * 64 + aw * 4 + 1);
    this.set(table, at + 1, did);
    return this.set(table, at + 2, first * 4096);
  }

  /**
   * Maps page `iova` to `target` in tables at page `top` of `levels` levels, by a leaf at `leafLevel`; `bits` are set
   * in every entry on the way.
   */
  map(
    top: number,
    levels: number,
    iova: number,
    target: number,
    access: number = R | W,
    leafLevel = 1,
    bits = 0,
  ): this {
    const table = this.tableOf(top, levels, iova, leafLevel, bits);
    const lo = ((target * 4096) % 2 ** 32) + access + bits + (leafLevel > 1 ? PS : 0);
    return this.set(table, indexAt(iova, leafLevel), lo, Math.floor((target * 4096) / 2 ** 32));
  }

  /** Page of the table of `level` on the way to `iova`; tables that are missing are made. */
  tableOf(top: number, levels: number, iova: number, level: number, bits = 0): number {
    let table = top;
    for (let at = levels; at > level; at--) {
      const index = indexAt(iova, at);
      let next = (this.#words[table * 1024 + index * 2] ?? 0) >>> 12;
      if (next === 0) {
        next = this.page();
        this.set(table, index, next * 4096 + (R | W) + bits);
      }
      table = next;
    }
    return table;
  }

  /** The core as bytes; `memBytes` when it shall describe more memory than it holds. */
  bytes(memBytes?: bigint): Uint8Array<ArrayBuffer> {
    if (this.#next > this.#pages) throw new Error(`the core needs ${this.#next} pages`);
    const content = new Uint8Array(this.#words.buffer as ArrayBuffer);
    return buildElf([{ paddr: 0n, content, memBytes: memBytes ?? BigInt(content.length) }]);
  }
}

function indexAt(iova: number, level: number): number {
  return Math.floor(iova / 512 ** (level - 1)) % 512;
}

/** First-stage tables want P, R/W and U/S where second-stage ones want R and W. */
export const FIRST_STAGE_BITS = 4;

/** Writes files into a folder that is gone when the tests of the file are done; gives their paths. */
export function scratchFiles(): (name: string, content: string | Uint8Array) => string {
  const folder = mkdtempSync(join(tmpdir(), 'viommu-cli-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  return (name, content) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
}

/** The options that go with a core of legacy mode, or of scalable mode. */
export const LEGACY: readonly string[] = ['--model', 'vtd', '--rtaddr', '0x1000'];
export const SCALABLE: readonly string[] = ['--model', 'vtd', '--rtaddr', '0x1400'];
