import { type Capability, type RegisterWord, registerWords } from './spec/index.ts';

/** A unit cannot be built as asked for; the message says what is wrong and what would do. */
export class VtdSetupError extends RangeError {
  readonly code = 'VIOMMU_VTD_SETUP';
  override readonly name = 'VtdSetupError';
}

/**
 * The register set as 32-bit words: what software reads, what a write of it leaves, and what hardware sets. Offsets are
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

  /** Throws VtdSetupError when `capability` places two registers at one offset. */
  constructor(capability: Capability, haw: number) {
    this.words = registerWords(capability, haw);
    this.bytes = (this.words.at(-1)?.offset ?? 0) + 4;
    const count = this.bytes / 4;
    this.#value = new Uint32Array(count);
    this.#writable = new Uint32Array(count);
    this.#writeOneToClear = new Uint32Array(count);
    this.#writeOnly = new Uint32Array(count);
    const overlap = overlappingRegisters(this.words);
    if (overlap !== undefined) throw new VtdSetupError(overlap);
    for (const word of this.words) {
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

/** Which registers among `words` (ascending) share an offset, with the remedy; undefined when none do. */
export function overlappingRegisters(words: readonly RegisterWord[]): string | undefined {
  const at = words.findIndex((word, i) => word.offset === words[i + 1]?.offset);
  const [one, other] = [words[at], words[at + 1]];
  if (one === undefined || other === undefined) return undefined;
  return (
    `${one.name} and ${other.name} both lie at register offset 0x${one.offset.toString(16)}: choose other offsets in ` +
    'CAP_REG.FRO and ECAP_REG.IRO'
  );
}
