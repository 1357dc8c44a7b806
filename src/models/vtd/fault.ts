import type { TranslationFault } from '../../memory/index.ts';
import { faultReason } from './spec/index.ts';

const made: Map<number, TranslationFault> = new Map();

/** The fault `code` (FRCD_REG.FR) with the specification's condition in its sentence. */
export function translationFault(code: number): TranslationFault {
  let fault = made.get(code);
  if (fault === undefined) {
    const known = faultReason(code);
    const reason =
      known === undefined ? `fault reason 0x${code.toString(16)}` : `${known.condition}: ${known.text}`;
    fault = { code, reason };
    made.set(code, fault);
  }
  return fault;
}
