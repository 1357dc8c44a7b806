import type { Timing } from './contest.ts';
import type { ImageOptions } from './table-image.ts';

/** One row of a benchmark. */
export interface Entry {
  /** Name in JSON. */
  readonly name: string;
  /** What it is called in the table. */
  readonly label: string;
  /** A variant of worker.ts, or a mode of floor.c. */
  readonly run: { readonly worker: string } | { readonly floor: string };
  /** What it must yield; entries of a benchmark that has a floor must yield what the floor does. */
  readonly yields?: (size: number) => string;
}

/** One benchmark: entries measured side by side, once for each size. */
export interface Suite {
  readonly name: string;
  readonly title: string;
  /** What is counted, in the singular. */
  readonly unit: string;
  readonly sizes: readonly number[];
  /** How a size is called in the table. */
  readonly sizeLabel: (size: number) => string;
  /** The tables that the entries work on; undefined when they need none. */
  readonly image?: (size: number) => ImageOptions;
  readonly entries: readonly Entry[];
  /** Nothing is timed: the facts of a single run are what it is about. */
  readonly factsOnly?: true;
  /** Further lines below the table; the default table shows the time a unit and the ratio to the floor. */
  readonly render?: (results: readonly Result[]) => string[];
}

/** One entry at one size. */
export interface Result {
  readonly entry: string;
  readonly size: number;
  readonly timing: Timing;
  /** Processor time in terms of the C floor's, when there was one. */
  readonly ratio?: number;
}
