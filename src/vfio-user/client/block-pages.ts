import type { RamBlock } from '../../memory/index.ts';
import type { RamSlice } from '../../vfio/index.ts';

/** Gives every page of every block a number, so that where a mapping leads is one number in a table of numbers. */
export class BlockPages {
  readonly #blocks: { readonly first: number; readonly block: RamBlock }[] = [];
  #last: { readonly first: number; readonly block: RamBlock } | undefined;
  #end = 0;

  /** The number of a page. */
  number({ block, page }: RamSlice): number {
    if (this.#last?.block !== block) {
      this.#last = this.#blocks.find((entry) => entry.block === block) ?? this.#add(block);
    }
    return this.#last.first + page;
  }

  /** The page that has this number, which `number` gave. */
  slice(number: number): RamSlice {
    const entry = this.#blocks.findLast(({ first }) => first <= number);
    if (entry === undefined) throw new RangeError(`no page has the number ${number}`);
    return { block: entry.block, page: number - entry.first };
  }

  /** Forgets all numbers, and with them the blocks. */
  clear(): void {
    this.#blocks.length = 0;
    this.#last = undefined;
    this.#end = 0;
  }

  #add(block: RamBlock): { readonly first: number; readonly block: RamBlock } {
    const entry = { first: this.#end, block };
    this.#blocks.push(entry);
    this.#end += block.pages;
    return entry;
  }
}
