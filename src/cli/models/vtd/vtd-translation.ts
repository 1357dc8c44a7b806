/** VT-d's translations and faults as the commands show them. @module */
import { formatPage, type TranslationFault } from '../../../memory/index.ts';
import { faultReason, type RequestTranslation, type StageTables } from '../../../models/vtd/index.ts';
import type { FaultWords } from '../fault-words.ts';
import type { Translation } from '../translation.ts';

/** The specification's words for a fault reason (FRCD_REG.FR). */
export function vtdFault({ code, reason }: TranslationFault): FaultWords {
  const known = faultReason(code);
  return known === undefined
    ? { code, condition: 'unknown', reason }
    : { code, condition: known.condition, reason: known.text };
}

/** The same for a code alone. */
export function vtdFaultOf(code: number): FaultWords {
  return vtdFault({ code, reason: 'a fault reason that the specification does not define' });
}

/** A requester's translation for people and programs. */
export function translationOf(translation: RequestTranslation): Translation {
  if (translation.kind === 'fault') return { kind: 'fault', fault: vtdFaultOf(translation.code) };
  const { domain } = translation;
  if (translation.kind === 'pass-through') {
    const text = `pass-through: every address to itself, without tables; domain ${domain}`;
    return { kind: 'pass-through', text, domain };
  }
  const by = translation.kind;
  if (translation.kind === 'second-stage') {
    const { secondStage } = translation;
    const text = `second stage: ${levelsAt(secondStage)}, domain ${domain}`;
    return { kind: 'mapped', by, text, domain, key: `second ${keyOf(secondStage)}`, shared: 'tables' };
  }
  const { firstStage: first, secondStage: second } = translation;
  const text =
    second === undefined
      ? `first stage: ${levelsAt(first)}, domain ${domain}`
      : `nested: first stage of ${levelsAt(first)}, second stage of ${levelsAt(second)}, domain ${domain}`;
  return {
    kind: 'mapped',
    by,
    text,
    domain,
    key: `${by} ${keyOf(first)} ${keyOf(second)}`,
    shared: 'tables',
  };
}

function levelsAt({ root, levels }: StageTables): string {
  return `${levels} levels at ${formatPage(root)}`;
}

function keyOf(tables: StageTables | undefined): string {
  return `${tables?.root} ${tables?.levels}`;
}
