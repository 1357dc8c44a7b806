/** One request through everything that decides about it. @module */
import type { Translation } from './translation.ts';

/** One entry on the way, or one table that could not be read. */
export interface TraceStep {
  /** 1 for a step on behalf of another one, as of a second stage for a first-stage table, else 0. */
  readonly depth: 0 | 1;
  /** What it is: `root entry`, `second stage, level 4`, `mapping`, ... */
  readonly what: string;
  /** Guest-physical page of the table; of nested first-stage tables the page before the second stage. undefined without tables. */
  readonly table: number | undefined;
  /** Number of the entry in the table; undefined when there is none, or it could not be read. */
  readonly index: number | undefined;
  /** The entry as 64-bit words in hexadecimal, low first. */
  readonly entry: readonly string[];
  readonly meaning: string;
}

/** The way of a request. */
export interface Trace {
  /** undefined while translation is off: nothing is looked at. */
  readonly translation: Translation | undefined;
  readonly steps: readonly TraceStep[];
  /** Pages of the leaf, of the smaller one where stages are nested; undefined when no leaf was reached. */
  readonly leafPages: number | undefined;
}
