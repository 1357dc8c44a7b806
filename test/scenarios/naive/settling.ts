/** A value, and those before it that may still be in force because nobody has confirmed that they are not. */
export class Settling<T> {
  value: T;
  #old: { readonly value: T; readonly step: number; readonly silent: boolean }[] = [];

  constructor(value: T) {
    this.value = value;
  }

  /** `silent`: the unit was not told, and learns of it only when it is told to look at everything anew. */
  change(value: T, step: number, silent = false): void {
    this.#old.push({ value: this.value, step, silent });
    this.value = value;
  }

  /** What changed up to `step` is in force alone. */
  confirm(step: number, silent = false): void {
    this.#old = this.#old.filter((old) => old.step > step || (old.silent && !silent));
  }

  get all(): readonly T[] {
    return [this.value, ...this.#old.map(({ value }) => value)];
  }
}
