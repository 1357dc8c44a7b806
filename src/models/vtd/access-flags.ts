/** Accessed and dirty flags that a translated request leaves in the tables (VT-d 3.6.2, 3.7.2). @module */
import type { RadixStep, TableMemory } from '../../iommu/index.ts';
import { PageCursor } from '../../memory/index.ts';
import { NestedTableMemory } from './nested.ts';
import type { RemappingState } from './remapping-state.ts';
import type { RequestTranslation } from './request-translation.ts';
import * as spec from './spec/index.ts';
import { type Stage, translateStage } from './stages.ts';

/** A translation that is done and leaves its flags now. */
export interface Completed {
  readonly translation: Exclude<RequestTranslation, { kind: 'fault' | 'pass-through' }>;
  /** The entries of the first stage, or of the second where there is no first. */
  readonly steps: readonly RadixStep[];
  readonly isWrite: boolean;
  /** Nested: the second stage, and the page that the first stage gave. */
  readonly second: Stage | undefined;
  readonly middle: number;
}

type Outcome = 'unchanged' | 'written' | 'failed';

/** Sets the flags that `completed` owes; the fault reason when one cannot be set, undefined otherwise. */
export function keepFlags(state: RemappingState, completed: Completed): number | undefined {
  const { translation, steps, isWrite, second } = completed;
  if (translation.kind === 'second-stage') {
    if (!translation.keepsFlags) return undefined;
    return setSecondStage(state.memory, steps, isWrite) === 'failed' ? spec.SSS_6 : undefined;
  }
  const accessed = spec.FS_A | (translation.extendedAccessed ? spec.FS_EA : 0);
  if (second === undefined) {
    return set(state.memory, steps, accessed, isWrite ? spec.FS_D : 0) === 'failed' ? spec.SFS_10 : undefined;
  }
  const tables = new NestedTableMemory(state.memory, second);
  const touch = (page: number, written: boolean): Outcome => {
    const inner: RadixStep[] = [];
    if (!translation.keepsFlags) return 'unchanged';
    translateStage(second, page, (step) => inner.push(step));
    return setSecondStage(state.memory, inner, written);
  };
  for (const [i, step] of steps.entries()) {
    const dirty = isWrite && i === steps.length - 1 ? spec.FS_D : 0;
    const outcome = set(tables, [step], accessed, dirty);
    if (outcome === 'failed') return tables.obstacle === 'not-ram' ? spec.SFS_10 : spec.SFS_8;
    // To the second stage the first stage's tables are memory that was read, and written where a flag was set.
    if (touch(step.table, outcome === 'written') === 'failed') return spec.SSS_6;
  }
  return touch(completed.middle, isWrite) === 'failed' ? spec.SSS_6 : undefined;
}

function setSecondStage(memory: TableMemory, steps: readonly RadixStep[], isWrite: boolean): Outcome {
  return set(memory, steps, spec.SS_A, isWrite ? spec.SS_D : 0);
}

/** `accessed` goes into every entry, `dirty` into the last. Tables that need no change need not be writable. */
function set(memory: TableMemory, steps: readonly RadixStep[], accessed: number, dirty: number): Outcome {
  const cursor = new PageCursor();
  let outcome: Outcome = 'unchanged';
  for (const [i, step] of steps.entries()) {
    const flags = i === steps.length - 1 ? accessed | dirty : accessed;
    if ((step.lo & flags) === flags) continue;
    if (!memory.locate(step.table, cursor, true)) return 'failed';
    const at = cursor.base + step.index * 2;
    cursor.words[at] = ((cursor.words[at] ?? 0) | flags) >>> 0;
    outcome = 'written';
  }
  return outcome;
}
