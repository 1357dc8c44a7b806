import type { RamBlock } from '../memory/index.ts';
import type { RamSlice } from './host-iommu.ts';

/** Where a mapping leads: the memory, and the guest-physical page that goes by the same name. */
export interface RamPlace {
  readonly ram: RamSlice;
  readonly target: number;
}

/** One block of RAM seen at one guest-physical place. */
interface Window {
  /** The number of the block's first page. */
  readonly base: number;
  readonly block: RamBlock;
  /** Guest-physical page of the block's first page; negative when only a later part is seen. */
  readonly shift: number;
}

/**
 * Gives every page of every block at every guest-physical place a number, so that a ledger can keep where a mapping
 * leads in the one number it has room for.
 */
export class RamPlaces {
  readonly #windows: Window[] = [];
  #last: Window | undefined;
  #end = 0;

  /** The number of the page of `ram` that the guest knows as page `target`. */
  number(target: number, ram: RamSlice): number {
    const shift = target - ram.page;
    let window = this.#last;
    if (window === undefined || window.block !== ram.block || window.shift !== shift) {
      window =
        this.#windows.find((w) => w.block === ram.block && w.shift === shift) ?? this.#add(ram.block, shift);
      this.#last = window;
    }
    return window.base + ram.page;
  }

  /** The page that has this number, which `number` gave. */
  place(number: number): RamPlace {
    const window = this.#windows.findLast((w) => w.base <= number) as Window;
    const page = number - window.base;
    return { ram: { block: window.block, page }, target: page + window.shift };
  }

  /** Forgets all numbers, and with them the blocks. */
  clear(): void {
    this.#windows.length = 0;
    this.#last = undefined;
    this.#end = 0;
  }

  #add(block: RamBlock, shift: number): Window {
    const window = { base: this.#end, block, shift };
    this.#windows.push(window);
    this.#end += block.pages;
    return window;
  }
}
