import type { Access } from '../../memory/index.ts';

/** A mapping as a server, or a proxy, holds it. */
export interface HeldMapping {
  readonly iova: bigint;
  readonly size: bigint;
  readonly offset: bigint;
  readonly access: Access;
}

/** 64-bit words of one mapping: iova, size, offset. */
const WORDS = 3;
const FIRST_ROOM = 1024;

/**
 * A ledger at one moment, so that it can be written while the ledger goes on changing: 25 bytes a mapping, where the
 * text would take some 75.
 */
export class LedgerSnapshot {
  #words: BigUint64Array<ArrayBuffer>;
  #access: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(mappings: Iterable<HeldMapping>) {
    this.#words = new BigUint64Array(FIRST_ROOM * WORDS);
    this.#access = new Uint8Array(FIRST_ROOM);
    for (const mapping of mappings) this.#push(mapping);
  }

  get length(): number {
    return this.#length;
  }

  /** The `index`-th mapping, in the order in which they were given. */
  at(index: number): HeldMapping {
    const word = index * WORDS;
    return {
      iova: this.#words[word]!,
      size: this.#words[word + 1]!,
      offset: this.#words[word + 2]!,
      access: this.#access[index] as Access,
    };
  }

  #push({ iova, size, offset, access }: HeldMapping): void {
    if (this.#length === this.#access.length) this.#grow();
    this.#words.set([iova, size, offset], this.#length * WORDS);
    this.#access[this.#length] = access;
    this.#length++;
  }

  #grow(): void {
    const words = new BigUint64Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
    const access = new Uint8Array(this.#access.length * 2);
    access.set(this.#access);
    this.#access = access;
  }
}
