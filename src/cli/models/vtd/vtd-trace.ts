/** One request through all VT-d structures and tables, with every entry that decides about it. @module */
import type { RequesterId } from '../../../iommu/index.ts';
import {
  lookupRequest,
  type RemappingState,
  type RequestTranslation,
  type Stage,
  stagesOf,
  translateStage,
} from '../../../models/vtd/index.ts';
import { formatEntry } from '../../terminal/text.ts';
import { type StageToTrace, traceStage } from '../radix-trace.ts';
import type { Trace, TraceStep } from '../trace.ts';
import { structureIndex, structureMeaning } from './structure-meaning.ts';
import { translationOf } from './vtd-translation.ts';

/** Follows `page` and changes nothing. The tables are shown for the interrupt range too, which they do not rule. */
export function traceVtd(
  state: RemappingState,
  requester: RequesterId,
  pasid: number | undefined,
  page: number,
): Trace {
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
      : traceStages(state, translation, page, steps);
  return { translation: translationOf(translation), steps, leafPages };
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
    const how = { ...tables(second), name, root, depth, unreadable: 'it is not in RAM' };
    const found = traceStage(how, at, steps);
    return found?.kind === 'leaf' ? found.pages : undefined;
  };
  if (first === undefined || translation.kind === 'second-stage') {
    return throughSecond('second stage', 0, page);
  }
  const nested = second !== undefined;
  const found = traceStage(
    {
      ...tables(first),
      name: 'first stage',
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

function tables(stage: Stage): Pick<StageToTrace, 'format' | 'translate'> {
  return {
    format: stage[0]!.table.format,
    translate: (page, visit) => translateStage(stage, page, visit),
  };
}
