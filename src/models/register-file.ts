/**
 * The registers of an IOMMU as software and hardware use them.
 *
 * @module
 */

/**
 * One 32-bit word of a register set: its value after reset, and what a write by software does to it. A write of `value`
 * leaves `(old & ~writable) | (value & writable)` with the bits of `value & writeOneToClear` cleared; a read returns the
 * word without its `writeOnly` bits.
 */
export interface RegisterWord {
  /** Byte offset from the register base. */
  readonly offset: number;
  /** The register's name in the specification; all words of a wider register carry it. */
  readonly name: string;
  /** Which 32 bits of the register: 0 for bits 31:0, 1 for 63:32, and so on. */
  readonly word: number;
  /** Value after reset. */
  readonly reset: number;
  /** Bits that take the written value. */
  readonly writable: number;
  /** Bits that a written one clears. */
  readonly writeOneToClear: number;
  /** Bits that always read as zero. */
  readonly writeOnly: number;
}

/**
 * A register set as 32-bit words: what software reads, what a write of it leaves, and what hardware sets. Offsets are
 * bytes, multiples of 4; words that are not defined read as zero and ignore writes. What a write sets in motion is
 * decided elsewhere.
 */
export class RegisterFile {
  /** Every defined word, ascending. */
  readonly words: readonly RegisterWord[];
  /** Bytes from offset 0 to the end of the last defined word. */
  readonly bytes: number;
  readonly #value: Uint32Array;
  readonly #writable: Uint32Array;
  readonly #writeOneToClear: Uint32Array;
  readonly #writeOnly: Uint32Array;

  /** `words` are in ascending order of offset, no two at one offset. */
  constructor(words: readonly RegisterWord[]) {
    this.words = words;
    this.bytes = (words.at(-1)?.offset ?? 0) + 4;
    const count = this.bytes / 4;
    this.#value = new Uint32Array(count);
    this.#writable = new Uint32Array(count);
    this.#writeOneToClear = new Uint32Array(count);
    this.#writeOnly = new Uint32Array(count);
    for (const word of words) {
      this.#writable[word.offset / 4] = word.writable;
      this.#writeOneToClear[word.offset / 4] = word.writeOneToClear;
      this.#writeOnly[word.offset / 4] = word.writeOnly;
    }
    this.reset();
  }

  /** Every word to its value after reset. */
  reset(): void {
    for (const word of this.words) this.#value[word.offset / 4] = word.reset;
  }

  /** The word at `offset` as hardware has it, write-only bits included. */
  get(offset: number): number {
    return this.#value[offset / 4] ?? 0;
  }

  /** Hardware sets the word at `offset`. */
  set(offset: number, value: number): void {
    this.#value[offset / 4] = value;
  }

  /** Hardware sets `bits` of the word at `offset`. */
  raise(offset: number, bits: number): void {
    this.set(offset, this.get(offset) | bits);
  }

  /** Hardware clears `bits` of the word at `offset`. */
  clear(offset: number, bits: number): void {
    this.set(offset, this.get(offset) & ~bits);
  }

  /** The word at `offset` as software reads it. */
  read(offset: number): number {
    return (this.get(offset) & ~(this.#writeOnly[offset / 4] ?? 0)) >>> 0;
  }

  /** Software writes the word at `offset`. */
  write(offset: number, value: number): void {
    const writable = this.#writable[offset / 4] ?? 0;
    const cleared = value & (this.#writeOneToClear[offset / 4] ?? 0);
    this.set(offset, ((this.get(offset) & ~writable) | (value & writable)) & ~cleared);
  }
}
