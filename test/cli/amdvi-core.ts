import { buildElf } from '../guests/build-elf.ts';

const PR = 1;
const R = 1;
const W = 2;

/** A device table entry as tests describe it. */
export interface AmdviEntry {
  readonly mode?: number;
  /** Page of the root table. */
  readonly root?: number;
  readonly access?: number;
  readonly domain?: number;
  /** TV. */
  readonly valid?: boolean;
  /** EX. */
  readonly excluded?: boolean;
}

/**
 * AMD-Vi tables in a few pages of guest memory, written entry by entry as the specification's figures have them and
 * without the code under test. The device table is page 1 and has 128 entries.
 */
export class AmdviCore {
  readonly #words: Uint32Array;
  #next = 2;

  constructor(pages = 32) {
    this.#words = new Uint32Array(pages * 1024);
  }

  /** A page of zeros for a table. */
  page(): number {
    return this.#next++;
  }

  /** The entry of a requester of bus 0 below 10.0; V is set. */
  device(devfn: number, entry: AmdviEntry): this {
    const { mode = 0, root = 0, access = R | W, domain = 1, valid = true, excluded = false } = entry;
    const at = 1024 + devfn * 8;
    this.#words[at] = root * 4096 + mode * 512 + (valid ? 2 : 0) + 1;
    this.#words[at + 1] = access * 2 ** 29;
    this.#words[at + 2] = domain;
    this.#words[at + 3] = excluded ? 0x80 : 0;
    return this;
  }

  /** Entry `index` of the table at `page`: another table, or with `nextLevel` 0 or 7 a page. */
  entry(page: number, index: number, nextLevel: number, target: number, access: number = R | W): this {
    const at = page * 1024 + index * 2;
    this.#words[at] = target * 4096 + nextLevel * 512 + PR;
    this.#words[at + 1] = access * 2 ** 29;
    return this;
  }

  /** The core as bytes. */
  bytes(): Uint8Array<ArrayBuffer> {
    const content = new Uint8Array(this.#words.buffer as ArrayBuffer);
    return buildElf([{ paddr: 0n, content, memBytes: BigInt(content.length) }]);
  }
}

/** The options that go with such a core. */
export const AMDVI: readonly string[] = ['--model', 'amdvi', '--devtab', '0x1000'];
