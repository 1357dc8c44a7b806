import type { RadixTable } from '../../src/iommu/index.ts';
import { PAGES_END, type PageRange } from '../../src/memory/index.ts';
import { type GuestMemory, guestMemory } from './guest-memory.ts';
import { TableWriter } from './table-writer.ts';

/** Where the tables of a table world are: the first table, which is the root, at this page. */
export const TABLES_AT = 0x1000;

/** Guest memory with tables in it and nothing else. */
export interface TableWorld extends GuestMemory {
  readonly tables: TableWriter;
  /** What the root covers. */
  readonly covered: PageRange;
}

/** Empty tables of `levels` levels, at the end of the 64-bit space when `top`. RAM is pages 0x1000 to 0x2000. */
export function tableWorld(levels: number, top = false): TableWorld {
  const memory = guestMemory([TABLES_AT, 0x1000]);
  const base = top ? PAGES_END - 512 ** levels : 0;
  let next = TABLES_AT;
  const tables = new TableWriter({ memory: memory.space, allocate: () => next++, levels, base });
  return { ...memory, tables, covered: coveredBy(tables) };
}

/** Pages that the root of `table` stands for, within 64 bits. */
export function coveredBy({ base, levels }: RadixTable): PageRange {
  return { start: base, end: Math.min(base + 512 ** levels, PAGES_END) };
}
