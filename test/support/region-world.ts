import type { WalkBudget } from '../../src/iommu/index.ts';
import { PAGES_END, type PageRange } from '../../src/memory/index.ts';
import { type GuestMemory, guestMemory } from './guest-memory.ts';
import { RadixRegion } from './radix-region.ts';
import { StrictSink } from './strict-sink.ts';
import { TableWriter } from './table-writer.ts';

/** Pages of RAM below the tables; what tests map onto. */
export const RAM_PAGES = 0x80000;

/** A guest IOMMU with one table, and 2 GiB of RAM for it to point at. */
export interface RegionWorld extends GuestMemory {
  readonly region: RadixRegion;
  readonly tables: TableWriter;
  /** Writes other tables; they are used when they are set as `region.tables`. */
  readonly moreTables: () => TableWriter;
}

export interface RegionWorldOptions {
  readonly levels?: number;
  /** The table's input ends at 2^64. */
  readonly top?: boolean;
  readonly budget?: WalkBudget;
  readonly iotlb?: boolean;
}

/** RAM is pages 0 to 0x80000, and 0xf0000 to 0xf2000 with the tables. */
export function regionWorld({ levels = 4, top = false, ...options }: RegionWorldOptions = {}): RegionWorld {
  const memory = guestMemory([0, RAM_PAGES], [0xf0000, 0x2000]);
  let next = 0xf0000;
  const base = top ? PAGES_END - 512 ** levels : 0;
  const moreTables = (): TableWriter =>
    new TableWriter({ memory: memory.space, allocate: () => next++, levels, base });
  const tables = moreTables();
  const region = new RadixRegion(top ? PAGES_END : 512 ** levels, memory.space, options);
  region.tables.set(0, tables);
  return { ...memory, region, tables, moreTables };
}

/** A strict sink that everything in `region` was replayed to, with an empty log. */
export function plugged(
  region: RadixRegion,
  options: {
    readonly range?: PageRange;
    readonly granule?: number;
    readonly isWrite?: boolean;
    readonly index?: number;
  } = {},
): StrictSink {
  const sink = new StrictSink(options.range, options.index);
  region.registerNotifierReplay(sink, BigInt(options.granule ?? 1) * 4096n, options.isWrite ?? false);
  sink.takeLog();
  return sink;
}
