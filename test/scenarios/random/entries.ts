/** Entries of VT-d structures as a guest writes them behind its driver's back. @module */
import type { GuestDomain } from '../../../src/guests/index.ts';
import { spec } from '../../../src/models/vtd/index.ts';
import type { NaiveLeaf } from '../naive/domain.ts';
import { CAPABILITY } from '../scenario-machine.ts';

/** Address bit 51, beyond what the platform has. */
const BAD_HI = 0x8_0000;

/** A second-stage leaf. */
export function leafEntry({ target, access, pages, bad }: NaiveLeaf): readonly [lo: number, hi: number] {
  const low = (target << 12) | access | (pages > 1 ? spec.SS_PS : 0);
  return [low, Math.floor(target / 0x10_0000) | (bad === true ? BAD_HI : 0)];
}

/** An entry that leads to the table at `page`. */
export function tableEntry(page: number): readonly [lo: number, hi: number] {
  return [(page << 12) | 3, page >>> 20];
}

/** A legacy context entry for `domain`, all zero for none. */
export function contextEntry(domain: GuestDomain | undefined): number[] {
  const words = new Array<number>(spec.CONTEXT_ENTRY_WORDS).fill(0);
  if (domain === undefined) return words;
  const { P, TT, SSPTPTR, AW, DID } = spec.CONTEXT_ENTRY.fields;
  spec.writeField(words, P, 1);
  spec.writeField(words, TT, domain.tables === undefined ? spec.TT_PASS_THROUGH : spec.TT_UNTRANSLATED);
  spec.writeField(words, SSPTPTR, domain.tables?.root ?? 0);
  spec.writeField(words, AW, widthOf(domain));
  spec.writeField(words, DID, domain.id);
  return words;
}

/** A PASID-table entry for `domain`, all zero for none. */
export function pasidTableEntry(domain: GuestDomain | undefined): number[] {
  const words = new Array<number>(spec.PASID_TABLE_ENTRY_WORDS).fill(0);
  if (domain === undefined) return words;
  const { P, PGTT, SSPTPTR, AW, DID } = spec.PASID_TABLE_ENTRY.fields;
  const passes = domain.tables === undefined;
  spec.writeField(words, P, 1);
  spec.writeField(words, PGTT, passes ? spec.PGTT_PASS_THROUGH : spec.PGTT_SECOND_STAGE);
  spec.writeField(words, SSPTPTR, domain.tables?.root ?? 0);
  spec.writeField(words, AW, widthOf(domain));
  spec.writeField(words, DID, domain.id);
  return words;
}

/** A PASID-cache invalidation of everything. */
export function pasidCacheInvalidation(): number[] {
  const words = [spec.TYPE_PC_INV_DSC, 0, 0, 0];
  spec.writeField(words, spec.PC_INV_DSC.fields.G, spec.PC_GLOBAL);
  return words;
}

/** AW; pass-through names the widest that the unit has. */
function widthOf(domain: GuestDomain): number {
  return domain.tables === undefined ? spec.largestAddressWidth(CAPABILITY.SAGAW) : domain.levels - 2;
}
