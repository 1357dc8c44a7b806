/**
 * A linear congruential generator (Numerical Recipes' constants): the C floor has the same, so that both visit the same
 * addresses in the same order.
 */
export class Random {
  #state: number;

  constructor(seed = 1) {
    this.#state = seed;
  }

  /** The next value of `bits` bits, 1 to 32; the upper ones of the state, for the lower ones repeat early. */
  next(bits: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state >>> (32 - bits);
  }
}

/** 0 to `count`, exclusive, in an order of no order. */
export function shuffled(count: number): Uint32Array {
  const random = new Random();
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.next(32) % (i + 1);
    const kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  return order;
}
