/** What root, context and PASID structures say, in words. @module */
import { formatPage } from '../../../memory/index.ts';
import { type Capability, spec, type StructureStep } from '../../../models/vtd/index.ts';

/** A field of up to 52 bits. */
type Reader = (field: spec.Field) => number;

/** What a root, context, PASID-directory or PASID-table entry says. */
export function structureMeaning(step: StructureStep, capability: Capability): string {
  const read: Reader = (field) => spec.readField(step.words, field);
  if (read(P) === 0) return 'not present';
  switch (step.structure) {
    case 'context entry':
      return contextEntry(read, capability);
    case 'scalable-mode context entry':
      return scalableContextEntry(read);
    case 'PASID-directory entry':
      return list(`PASID table at ${formatPage(read(spec.PASID_DIRECTORY_ENTRY.fields.SMPTBLPTR))}`, read);
    case 'PASID-table entry':
      return pasidTableEntry(read, capability);
    default:
      return `context table at ${formatPage(read(spec.ROOT_ENTRY.fields.CTP))}`;
  }
}

/** Number of the entry in its table. */
export function structureIndex(step: StructureStep): number {
  // The halves of a scalable-mode root entry count as one entry.
  const bytes = step.structure.endsWith('root entry') ? spec.ROOT_ENTRY_WORDS * 4 : step.words.length * 4;
  return Math.floor(step.offset / bytes);
}

/** Present (bit 0) and FPD (bit 1) are at the same place in all of these structures. */
const { P } = spec.ROOT_ENTRY.fields;
const { FPD } = spec.CONTEXT_ENTRY.fields;

const TRANSLATION_TYPES: Readonly<Record<number, string>> = {
  [spec.TT_UNTRANSLATED]: 'untranslated requests only',
  [spec.TT_DEVICE_TLB]: 'device-TLBs too',
  [spec.TT_PASS_THROUGH]: 'pass-through',
};

function contextEntry(read: Reader, capability: Capability): string {
  const field = spec.CONTEXT_ENTRY.fields;
  const type = read(field.TT);
  const parts = [
    `TT ${type} (${TRANSLATION_TYPES[type] ?? 'reserved'})`,
    `AW ${width(read(field.AW), capability)}`,
  ];
  if (type !== spec.TT_PASS_THROUGH) parts.push(`second-stage tables at ${formatPage(read(field.SSPTPTR))}`);
  else if (read(field.AW) !== spec.largestAddressWidth(capability.SAGAW)) {
    parts.push(`pass-through needs AW ${width(spec.largestAddressWidth(capability.SAGAW), capability)}`);
  }
  parts.push(`domain ${read(field.DID)}`);
  return list(parts.join(', '), read);
}

function scalableContextEntry(read: Reader): string {
  const field = spec.SM_CONTEXT_ENTRY.fields;
  const parts = [
    `PASID directory at ${formatPage(read(field.PASIDDIRPTR))} of ${spec.pasidDirectoryEntries(read(field.PDTS))} entries`,
    `RID_PASID ${read(field.RID_PASID)}`,
    `requests with PASID ${read(field.PASIDE) === 1 ? 'allowed' : 'blocked'}`,
  ];
  return list(parts.join(', '), read);
}

const PGTT_NAMES: Readonly<Record<number, string>> = {
  [spec.PGTT_FIRST_STAGE]: 'first stage',
  [spec.PGTT_SECOND_STAGE]: 'second stage',
  [spec.PGTT_NESTED]: 'nested',
  [spec.PGTT_PASS_THROUGH]: 'pass-through',
};

function pasidTableEntry(read: Reader, capability: Capability): string {
  const field = spec.PASID_TABLE_ENTRY.fields;
  const type = read(field.PGTT);
  const parts = [`PGTT ${type} (${PGTT_NAMES[type] ?? 'reserved'})`];
  if (type === spec.PGTT_FIRST_STAGE || type === spec.PGTT_NESTED) {
    const levels = spec.firstStageLevels(read(field.FSPM), capability);
    const depth = levels === 0 ? `unusable FSPM ${read(field.FSPM)}` : `${levels} levels`;
    parts.push(`first-stage tables at ${formatPage(read(field.FSPTPTR))}, ${depth}`);
  }
  if (type === spec.PGTT_SECOND_STAGE || type === spec.PGTT_NESTED) {
    parts.push(
      `second-stage tables at ${formatPage(read(field.SSPTPTR))}`,
      `AW ${width(read(field.AW), capability)}`,
    );
  }
  parts.push(`domain ${read(field.DID)}`);
  return list(parts.join(', '), read);
}

function width(aw: number, capability: Capability): string {
  const levels = spec.levelsOf(aw, capability.SAGAW);
  return levels === 0
    ? `${aw} (not offered by SAGAW)`
    : `${aw} (${spec.adjustedWidth(levels)} bits, ${levels} levels)`;
}

function list(text: string, read: Reader): string {
  return read(FPD) === 1 ? `${text}, faults not recorded (FPD)` : text;
}
