/** One request through all structures and tables, with every entry that decides about it. @module */
import { DecodedEntry, EntryKind, type RadixLookup } from '../../iommu/index.ts';
import { formatPage, pageOf } from '../../memory/index.ts';
import {
  lookupRequest,
  type RemappingState,
  type RequestTranslation,
  type Stage,
  stagesOf,
  translateStage,
} from '../../models/vtd/index.ts';
import type { Request } from './outcome.ts';
import { structureIndex, structureMeaning } from './structure-meaning.ts';
import { formatEntry, formatPages } from '../terminal/text.ts';

/** One entry on the way, or one table that could not be read. */
export interface TraceStep {
  /** 1 for a second-stage step on behalf of a first-stage one, else 0. */
  readonly depth: 0 | 1;
  /** What the table is: `root entry`, `second stage, level 4`, ... */
  readonly what: string;
  /** Guest-physical page of the table; of nested first-stage tables the page before the second stage. */
  readonly table: number;
  /** Number of the entry in the table; undefined when the table could not be read. */
  readonly index: number | undefined;
  /** The entry as 64-bit words in hexadecimal, low first. */
  readonly entry: readonly string[];
  readonly meaning: string;
}

/** The way of a request. */
export interface Trace {
  /** undefined while translation is off: no table is looked at. */
  readonly translation: RequestTranslation | undefined;
  readonly steps: readonly TraceStep[];
  /** Pages of the leaf, of the smaller one where stages are nested; undefined when no leaf was reached. */
  readonly leafPages: number | undefined;
}

/** Follows `request` and changes nothing. The tables are shown for the interrupt range too, which they do not rule. */
export function traceRequest(state: RemappingState, request: Request): Trace {
  const { requester, pasid } = request;
  const steps: TraceStep[] = [];
  if (!state.translationEnabled) return { translation: undefined, steps, leafPages: undefined };
  const translation = lookupRequest(state, requester, pasid, (step) => {
    const { words } = step;
    const entry: string[] = [];
    for (let i = 0; i < words.length; i += 2) entry.push(formatEntry(words[i] ?? 0, words[i + 1] ?? 0));
    steps.push({
      depth: 0,
      what: step.structure,
      table: step.table,
      index: structureIndex(step),
      entry,
      meaning: structureMeaning(step, state.capability),
    });
  });
  const leafPages =
    translation.kind === 'fault' || translation.kind === 'pass-through'
      ? undefined
      : traceStages(state, translation, pageOf(request.iova), steps);
  return { translation, steps, leafPages };
}

/** Adds the steps through all stages; the pages of the leaf, if there is one. */
function traceStages(
  state: RemappingState,
  translation: Exclude<RequestTranslation, { kind: 'fault' | 'pass-through' }>,
  page: number,
  steps: TraceStep[],
): number | undefined {
  const { first, second } = stagesOf(state, translation);
  const throughSecond = (name: string, depth: 0 | 1, at: number): number | undefined => {
    if (second === undefined || translation.secondStage === undefined) return undefined;
    const { root } = translation.secondStage;
    const how = { name, stage: second, root, depth, unreadable: 'it is not in RAM' };
    const found = traceStage(how, at, steps);
    return found?.kind === 'leaf' ? found.pages : undefined;
  };
  if (first === undefined || translation.kind === 'second-stage') {
    return throughSecond('second stage', 0, page);
  }
  const nested = second !== undefined;
  const found = traceStage(
    {
      name: 'first stage',
      stage: first,
      root: translation.firstStage.root,
      depth: 0,
      unreadable: nested ? 'the second stage leads to no RAM that may be read' : 'it is not in RAM',
      beforeTable: (level, table) => void throughSecond(`second stage of the level ${level} table`, 1, table),
    },
    page,
    steps,
  );
  if (found?.kind !== 'leaf') return undefined;
  if (!nested) return found.pages;
  const inner = throughSecond('second stage of the page', 1, found.target + (page - found.iova));
  return inner === undefined ? undefined : Math.min(found.pages, inner);
}

interface StageTrace {
  readonly name: string;
  readonly stage: Stage;
  /** Page of the top table. */
  readonly root: number;
  readonly depth: 0 | 1;
  /** What keeps a table from being read. */
  readonly unreadable: string;
  /** Called before the entry of each table, also of one that then cannot be read. */
  readonly beforeTable?: (level: number, table: number) => void;
}

function traceStage(how: StageTrace, page: number, steps: TraceStep[]): RadixLookup | undefined {
  const { name, stage, depth } = how;
  /** Page of the table that the last entry named. */
  let next: number | undefined = how.root;
  const found = translateStage(stage, page, (step) => {
    const entry = new DecodedEntry();
    const format = stage[0]!.table.format;
    if (step.kind !== EntryKind.NotPresent) format.decode(step.lo, step.hi, step.level, entry);
    how.beforeTable?.(step.level, step.table);
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
    missing(name, how.root, `${formatPage(page)} is beyond what these tables translate`);
  } else if (found.kind === 'fault' && next !== undefined) {
    how.beforeTable?.(found.level, next);
    missing(`${name}, level ${found.level}`, next, `the table cannot be read: ${how.unreadable}`);
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
