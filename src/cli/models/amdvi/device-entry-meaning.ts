/** What a device table entry says, in words. @module */
import { formatPage } from '../../../memory/index.ts';
import { spec } from '../../../models/amdvi/index.ts';
import { plural } from '../../terminal/text.ts';
import { permissionOf } from './amdvi-translation.ts';

const FIELDS = spec.DEVICE_TABLE_ENTRY.fields;

const INTERRUPTS: Readonly<Record<number, string>> = {
  [spec.INT_CTL_ABORT]: 'interrupts blocked',
  [spec.INT_CTL_FORWARD]: 'interrupts forwarded',
  [spec.INT_CTL_REMAP]: 'interrupts remapped',
  [spec.INT_CTL_RESERVED]: 'reserved IntCtl',
};

/** What the entry with these words says about DMA. */
export function deviceEntryMeaning(words: readonly number[]): string {
  const read = (field: keyof typeof FIELDS): number => spec.readField(words, FIELDS[field]);
  const interrupts = read('IV') === 1 ? [INTERRUPTS[read('IntCtl')] ?? ''] : [];
  if (read('V') === 0) return ['V 0: addresses pass as they are', ...interrupts].join(', ');
  if (read('TV') === 0) return ['V 1, TV 0: every request faults', ...interrupts].join(', ');
  const mode = read('Mode');
  const parts = [
    modeMeaning(mode, read('HostPageTableRootPtr')),
    permissionOf(read('IR') + 2 * read('IW')),
    `domain ${read('DomainID')}`,
    ...interrupts,
  ];
  if (read('EX') === 1) parts.push('exclusion range passes (EX)');
  if (read('SA') === 1) parts.push('page faults not logged (SA)');
  else if (read('SE') === 1) parts.push('only the first page fault logged (SE)');
  return parts.join(', ');
}

function modeMeaning(mode: number, root: number): string {
  if (mode === spec.MODE_NO_TRANSLATION) return 'Mode 0 (no translation)';
  if (mode === spec.MODE_RESERVED) return `Mode ${mode} (reserved)`;
  return `Mode ${mode} (${plural(mode, 'level')}), tables at ${formatPage(root)}`;
}
