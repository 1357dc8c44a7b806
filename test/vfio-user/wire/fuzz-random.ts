/** Numbers that look random and are the same for the same seed: a block of fuzzing is repeated by its seed alone. */
export class Random {
  #state: number;

  /** `stream` tells apart sequences of one seed; both are 32-bit integers. */
  constructor(seed: number, stream: number) {
    this.#state = Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(stream + 1, 0xc2b2_ae35) || 1;
    for (let i = 0; i < 8; i++) this.u32();
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    // mulberry32: a counter through a mixing function, so that no seed leads into a short cycle.
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 to `end` - 1. */
  below(end: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * end);
  }

  /** True `times` times in `of`. */
  chance(times: number, of: number): boolean {
    return this.below(of) < times;
  }

  bool(): boolean {
    return (this.u32() & 1) !== 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  /** A 64-bit number: often small, often of whole pages, at times near the end. */
  u64(): bigint {
    switch (this.below(4)) {
      case 0:
        return BigInt(this.u32());
      case 1:
        return BigInt(this.u32()) << 12n;
      case 2:
        return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
      default:
        return (1n << 64n) - 1n - BigInt(this.below(0x3000));
    }
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.u32();
    return bytes;
  }
}
