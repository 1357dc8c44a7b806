/** One request through the device table and the tables that its entry names. @module */
import { type RequesterId, translateRadix } from '../../../iommu/index.ts';
import { type AmdviState, hostTable, lookupDevice } from '../../../models/amdvi/index.ts';
import { formatEntry } from '../../terminal/text.ts';
import { traceStage } from '../radix-trace.ts';
import type { Trace, TraceStep } from '../trace.ts';
import { translationOf } from './amdvi-translation.ts';
import { deviceEntryMeaning } from './device-entry-meaning.ts';

/** Follows `page` and changes nothing. The tables are shown for the interrupt range too, which they do not rule. */
export function traceAmdvi(state: AmdviState, requester: RequesterId, page: number): Trace {
  const steps: TraceStep[] = [];
  if (!state.enabled) return { translation: undefined, steps, leafPages: undefined };
  const found = lookupDevice(state, requester, ({ table, offset, words }) => {
    const entry: string[] = [];
    for (let i = 0; i < words.length; i += 2) entry.push(formatEntry(words[i] ?? 0, words[i + 1] ?? 0));
    const index = offset / (words.length * 4);
    const meaning = deviceEntryMeaning(words);
    steps.push({ depth: 0, what: 'device table entry', table, index, entry, meaning });
  });
  const translation = translationOf(found);
  if (found.kind !== 'tables') return { translation, steps, leafPages: undefined };
  const table = hostTable(state, found);
  const end = 512 ** table.levels;
  const stage = {
    name: 'host tables',
    format: table.format,
    root: table.root,
    depth: 0,
    unreadable: 'it is not in RAM',
    translate: (at: number, visit: Parameters<typeof translateRadix>[2]) =>
      at < end ? translateRadix(table, at, visit) : undefined,
  } as const;
  const leaf = traceStage(stage, page, steps);
  return { translation, steps, leafPages: leaf?.kind === 'leaf' ? leaf.pages : undefined };
}
