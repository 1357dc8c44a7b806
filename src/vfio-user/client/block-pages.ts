import { PAGE_SIZE, type RamBlock } from '../../memory/index.ts';
import type { RamSlice } from '../../vfio/index.ts';
import { isShared } from './shared-ram.ts';
import type { Descriptor } from '../descriptor.ts';

/** A block, and where its pages are. */
export interface PlacedBlock {
  /** Number of its first page. */
  readonly first: number;
  readonly block: RamBlock;
  /** Its file, if it lies in one. */
  readonly descriptor: Descriptor | undefined;
  /** Page of the file at which it begins. */
  readonly filePage: number;
}

/** Gives every page of every block a number, so that where a mapping leads is one number in a table of numbers. */
export class BlockPages {
  readonly #blocks: PlacedBlock[] = [];
  #last: PlacedBlock | undefined;
  /** The one found last: pages of one block follow each other. */
  #found: PlacedBlock | undefined;
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
    const { block, first } = this.at(number);
    return { block, page: number - first };
  }

  /** The block of the page that has this number, which `number` gave. */
  at(number: number): PlacedBlock {
    const found = this.#found;
    if (found !== undefined && number >= found.first && number < found.first + found.block.pages)
      return found;
    const entry = this.#blocks.findLast(({ first }) => first <= number);
    if (entry === undefined) throw new RangeError(`no page has the number ${number}`);
    this.#found = entry;
    return entry;
  }

  /** Forgets all numbers, and with them the blocks. */
  clear(): void {
    this.#blocks.length = 0;
    this.#last = undefined;
    this.#found = undefined;
    this.#end = 0;
  }

  #add(block: RamBlock): PlacedBlock {
    const share = isShared(block) ? block.share : undefined;
    const entry = {
      first: this.#end,
      block,
      descriptor: share?.descriptor,
      filePage: share === undefined ? 0 : Number(share.offset) / PAGE_SIZE,
    };
    this.#blocks.push(entry);
    this.#end += block.pages;
    return entry;
  }
}
