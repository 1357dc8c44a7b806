/** One stage of radix tables as steps of a trace, whatever their format. @module */
import {
  DecodedEntry,
  EntryKind,
  type RadixLookup,
  type StepVisitor,
  type TableFormat,
} from '../../iommu/index.ts';
import { formatPage } from '../../memory/index.ts';
import { formatEntry, formatPages } from '../terminal/text.ts';
import type { TraceStep } from './trace.ts';

/** A stage to trace. */
export interface StageToTrace {
  readonly name: string;
  readonly format: TableFormat;
  /** Page of the top table. */
  readonly root: number;
  readonly depth: 0 | 1;
  /** What keeps a table from being read. */
  readonly unreadable: string;
  /** Follows the page and shows each entry; undefined when the page is beyond what the tables translate. */
  readonly translate: (page: number, visit: StepVisitor) => RadixLookup | undefined;
  /** Called before the entry of each table, also of one that then cannot be read. */
  readonly beforeTable?: (level: number, table: number) => void;
}

/** Adds the steps of `page` through `stage`. */
export function traceStage(stage: StageToTrace, page: number, steps: TraceStep[]): RadixLookup | undefined {
  const { name, depth } = stage;
  /** Page of the table that the last entry named. */
  let next: number | undefined = stage.root;
  const found = stage.translate(page, (step) => {
    const entry = new DecodedEntry();
    if (step.kind !== EntryKind.NotPresent) stage.format.decode(step.lo, step.hi, step.level, entry);
    stage.beforeTable?.(step.level, step.table);
    steps.push({
      depth,
      what: `${name}, level ${step.level}`,
      table: step.table,
      index: step.index,
      entry: [formatEntry(step.lo, step.hi)],
      meaning: pagingMeaning(entry),
    });
    next = entry.kind === EntryKind.Table ? entry.page : undefined;
  });
  const missing = (what: string, table: number, meaning: string): void => {
    steps.push({ depth, what, table, index: undefined, entry: [], meaning });
  };
  if (found === undefined) {
    missing(name, stage.root, `${formatPage(page)} is beyond what these tables translate`);
  } else if (found.kind === 'fault' && next !== undefined) {
    stage.beforeTable?.(found.level, next);
    missing(`${name}, level ${found.level}`, next, `the table cannot be read: ${stage.unreadable}`);
  }
  return found;
}

/** What a paging entry says: the table or page that it names, and what it permits. */
function pagingMeaning(entry: DecodedEntry): string {
  switch (entry.kind) {
    case EntryKind.NotPresent:
      return 'not present';
    case EntryKind.Fault:
      return entry.fault?.reason ?? 'fault';
    case EntryKind.Table:
      return `table at ${formatPage(entry.page)}, ${permits(entry.access)}`;
    case EntryKind.Leaf:
      return `leaf of ${formatPages(entry.pages)} -> ${formatPage(entry.page)}, ${permits(entry.access)}`;
  }
}

function permits(access: number): string {
  return ['permits nothing', 'R', 'W', 'R W'][access & 3] ?? '';
}
