import { RegisterFile, type RegisterWord } from '../register-file.ts';
import { type Capability, registerWords } from './spec/index.ts';

/** A unit cannot be built as asked for; the message says what is wrong and what would do. */
export class VtdSetupError extends RangeError {
  readonly code = 'VIOMMU_VTD_SETUP';
  override readonly name = 'VtdSetupError';
}

/** The registers of a unit. Throws VtdSetupError when `capability` places two of them at one offset. */
export function registerSet(capability: Capability, haw: number): RegisterFile {
  const words = registerWords(capability, haw);
  const overlap = overlappingRegisters(words);
  if (overlap !== undefined) throw new VtdSetupError(overlap);
  return new RegisterFile(words);
}

/** Which registers among `words` (ascending) share an offset, with the remedy; undefined when none do. */
export function overlappingRegisters(words: readonly RegisterWord[]): string | undefined {
  const at = words.findIndex((word, i) => word.offset === words[i + 1]?.offset);
  const [one, other] = [words[at], words[at + 1]];
  if (one === undefined || other === undefined) return undefined;
  return (
    `${one.name} and ${other.name} both lie at register offset 0x${one.offset.toString(16)}: choose other offsets in ` +
    'CAP_REG.FRO and ECAP_REG.IRO'
  );
}
