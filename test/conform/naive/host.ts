import { pagesOfText, type SinkLimits } from '../../../src/conform/index.ts';
import {
  endOf,
  EVERYTHING,
  isSame,
  type Leaf,
  liesIn,
  lineOf,
  onRam,
  overlaps,
  type Pages,
  withoutInterrupts,
} from './leaf.ts';

/** The host behind one plugged device: an array of what it was told. */
export class NaiveHost {
  readonly #most: number;
  readonly #end: number;
  /** Leaves as they are in the tables; the host holds what of them is no interrupt and leads to RAM. */
  #held: readonly Leaf[] = [];
  /** What the host holds of {@link #held}, once it was asked for. */
  #mappings: readonly Leaf[] | undefined;
  #cutOff = false;

  constructor({ maxMappings, end }: SinkLimits) {
    this.#most = maxMappings ?? Number.POSITIVE_INFINITY;
    this.#end = end === undefined ? EVERYTHING.end : pagesOfText(end);
  }

  /** Whether it was emptied, and holds nothing since. */
  get isCutOff(): boolean {
    return this.#cutOff;
  }

  /** Ascending. */
  lines(): string[] {
    return this.mappings().map((mapping) => lineOf(mapping));
  }

  /** Ascending. */
  mappings(): readonly Leaf[] {
    this.#mappings ??= mappingsOf(this.#held);
    return this.#mappings;
  }

  /** The host failed: it is emptied, until it is {@link restored}. */
  cutOff(): void {
    this.#cutOff = true;
    this.#hold([]);
  }

  /** The host is used again, if it can hold `desired`. Whether it can. */
  restored(desired: readonly Leaf[]): boolean {
    this.#cutOff = false;
    this.follow(EVERYTHING, desired);
    return !this.#cutOff;
  }

  /** Whether the host could hold what {@link follow} would give it. */
  canFollow(range: Pages, desired: readonly Leaf[]): boolean {
    return this.#cutOff || this.#fits(this.#after(range, desired));
  }

  /**
   * `desired` is what should be held now, everywhere; the host learns that of `range`. One that cannot hold it is
   * emptied, until it is {@link restored}.
   */
  follow(range: Pages, desired: readonly Leaf[]): void {
    if (this.#cutOff) return;
    const after = this.#after(range, desired);
    if (this.#fits(after)) this.#hold(after);
    else this.cutOff();
  }

  #hold(leaves: readonly Leaf[]): void {
    this.#held = leaves;
    this.#mappings = undefined;
  }

  #after(range: Pages, desired: readonly Leaf[]): Leaf[] {
    const wide = widened(range, [...this.#held, ...desired]);
    const goOn = this.#held.filter(
      (held) => !liesIn(held, wide) || desired.some((leaf) => isSame(leaf, held)),
    );
    const come = desired.filter((leaf) => liesIn(leaf, wide) && !goOn.some((held) => isSame(leaf, held)));
    return [...goOn, ...come];
  }

  #fits(leaves: readonly Leaf[]): boolean {
    const mappings = mappingsOf(leaves);
    return mappings.length <= this.#most && mappings.every((mapping) => endOf(mapping) <= this.#end);
  }
}

/** The range with all of every leaf that it touches, and of every leaf that those touch. */
function widened(range: Pages, leaves: readonly Leaf[]): Pages {
  let { start, end } = range;
  for (;;) {
    const crossing = leaves.filter((leaf) => overlaps(leaf, { start, end }) && !liesIn(leaf, { start, end }));
    if (crossing.length === 0) return { start, end };
    for (const leaf of crossing) {
      start = Math.min(start, leaf.iova);
      end = Math.max(end, endOf(leaf));
    }
  }
}

function mappingsOf(leaves: readonly Leaf[]): Leaf[] {
  return withoutInterrupts(leaves)
    .flatMap((leaf) => onRam(leaf))
    .sort((a, b) => a.iova - b.iova);
}
