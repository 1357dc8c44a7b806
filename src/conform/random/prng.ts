/** Random choices that a seed decides, the same on every machine. */
export class Prng {
  #state: number;

  /** `seed` is any integer of 32 bits. */
  constructor(seed: number) {
    // A state of 0 would stay 0; neighbouring seeds are driven apart by the rounds.
    this.#state = (seed ^ 0x9e37_79b9) >>> 0 || 1;
    for (let round = 0; round < 8; round++) this.#next();
  }

  /** An integer from 0 to `end`, exclusive; `end` is 1 to 2^32. */
  below(end: number): number {
    return Math.floor((this.#next() / 2 ** 32) * end);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  /** One of `items`, of which there must be some. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** One of the keys, each as often as its weight says. */
  weighted<K extends string>(weights: readonly (readonly [key: K, weight: number])[]): K {
    let at = this.below(weights.reduce((sum, [, weight]) => sum + weight, 0));
    for (const [key, weight] of weights) {
      if (at < weight) return key;
      at -= weight;
    }
    throw new RangeError('there is nothing to choose from');
  }

  /** Marsaglia's xorshift with 32 bits of state. */
  #next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state;
  }
}
