import { type GuestStep, pagesOfText } from '../../../src/conform/index.ts';
import { cut, endOf, type Leaf, liesIn, overlaps, type Pages } from './leaf.ts';

type StepOf<Do extends GuestStep['do']> = Extract<GuestStep, { readonly do: Do }>;

/** What the tables of one domain say: a list of leaves. */
export class DomainTables {
  readonly #sizes: readonly number[];
  #leaves: Leaf[] = [];

  /** `sizes` are those of leaves, in pages, descending. */
  constructor(sizes: readonly number[]) {
    this.#sizes = sizes;
  }

  get leaves(): readonly Leaf[] {
    return this.#leaves;
  }

  /** Returns the pages that changed. */
  map(step: StepOf<'map'>): Pages {
    const range = rangeOf(step);
    if (this.#leaves.some((leaf) => overlaps(leaf, range))) throw new Error(`${step.iova} is mapped`);
    const sizes = step.leaf === undefined ? this.#sizes : [pagesOfText(step.leaf)];
    const shift = pagesOfText(step.to) - range.start;
    for (let iova = range.start; iova < range.end; ) {
      const target = iova + shift;
      const size = sizes.find(
        (pages) => iova % pages === 0 && target % pages === 0 && iova + pages <= range.end,
      );
      if (size === undefined) throw new Error(`${step.iova} cannot be leaves of ${step.leaf ?? 'any size'}`);
      this.#leaves.push({ iova, pages: size, target, access: step.access });
      iova += size;
    }
    return range;
  }

  /** Returns the pages that changed; undefined when nothing was mapped. */
  unmap(step: StepOf<'unmap'>): Pages | undefined {
    const gone = this.#whole(rangeOf(step));
    this.#leaves = this.#leaves.filter((leaf) => !gone.includes(leaf));
    if (gone.length === 0) return undefined;
    return {
      start: Math.min(...gone.map(({ iova }) => iova)),
      end: Math.max(...gone.map((leaf) => endOf(leaf))),
    };
  }

  /** Returns the pages that changed. */
  remap(step: StepOf<'remap'>): Pages {
    const range = rangeOf(step);
    const changed = this.#whole(range);
    const shift = step.to === undefined ? undefined : pagesOfText(step.to) - range.start;
    this.#leaves = this.#leaves.map((leaf) => {
      if (!changed.includes(leaf)) return leaf;
      const target = shift === undefined ? leaf.target : leaf.iova + shift;
      return { ...leaf, target, access: step.access };
    });
    return range;
  }

  /**
   * An entry of level n stands for 512^(n-1) pages: whatever was mapped there goes. A raw entry counts as mapping
   * nothing: scenarios write such for what no table may hold, and for tables that are empty.
   */
  entry(step: StepOf<'entry'>): void {
    const span = 512 ** (step.level - 1);
    const size = step.is === 'leaf' && step.size !== undefined ? pagesOfText(step.size) : span;
    const reach = Math.max(size, span);
    const start = Math.floor(pagesOfText(step.iova) / reach) * reach;
    const range = { start, end: start + reach };
    // Of a leaf that stands in several entries, the others stay.
    this.#leaves = this.#leaves.flatMap((leaf) => [
      ...cut(leaf, 0, start),
      ...cut(leaf, range.end, endOf(leaf)),
    ]);
    if (step.is !== 'leaf') return;
    this.#leaves.push({ iova: start, pages: size, target: pagesOfText(step.to), access: step.access });
  }

  /** The leaves in `range`, none of which reaches beyond it. */
  #whole(range: Pages): Leaf[] {
    const touched = this.#leaves.filter((leaf) => overlaps(leaf, range));
    if (touched.every((leaf) => liesIn(leaf, range))) return touched;
    throw new Error('a leaf would be cut');
  }
}

function rangeOf(step: { readonly iova: string; readonly size: string }): Pages {
  const start = pagesOfText(step.iova);
  return { start, end: start + pagesOfText(step.size) };
}
