/** What becomes of one request, in the end. @module */
import type { RequesterId } from '../../iommu/index.ts';
import { Access, pageOf, RamRegion } from '../../memory/index.ts';
import { faultReason, INTERRUPT_RANGE, type RemappingState, VtdRegion } from '../../models/vtd/index.ts';

/** A fault with the specification's words for it. */
export interface OutcomeFault {
  /** Fault reason (FRCD_REG.FR). */
  readonly code: number;
  /** The specification's name of the condition, such as `LGN.2`. */
  readonly condition: string;
  /** One sentence. */
  readonly reason: string;
}

/** Where a request ends. */
export type Outcome =
  /** A write here is an interrupt request; nothing translates it. */
  | { readonly kind: 'interrupt' }
  | { readonly kind: 'fault'; readonly fault: OutcomeFault; readonly writeFault: OutcomeFault | undefined }
  | {
      /** `untranslated`: translation is off. `pass-through`: the requester's structures say so. */
      readonly kind: 'translated' | 'pass-through' | 'untranslated';
      /** Guest-physical byte address. */
      readonly gpa: bigint;
      /** What the tables permit. */
      readonly access: Access;
      /** Whether the guest has RAM there. */
      readonly ram: boolean;
    };

/** What is asked. */
export interface Request {
  readonly requester: RequesterId;
  /** undefined for a request without PASID. */
  readonly pasid: number | undefined;
  /** Byte address. */
  readonly iova: bigint;
  /** `None` asks what is permitted. */
  readonly access: Access;
}

/** Follows `request` as a device's DMA would be, on a stopped guest. Sets accessed and dirty flags like hardware does. */
export function outcomeOf(state: RemappingState, request: Request): Outcome {
  const { requester, pasid, iova, access } = request;
  const page = pageOf(iova);
  const isRam = (gpa: bigint): boolean => state.memory.view.find(pageOf(gpa))?.region instanceof RamRegion;
  // VT-d 3.14: requests without PASID only; those with one are translated here as anywhere.
  if (pasid === undefined && page >= INTERRUPT_RANGE.start && page < INTERRUPT_RANGE.end) {
    return { kind: 'interrupt' };
  }
  if (!state.translationEnabled) {
    return { kind: 'untranslated', gpa: iova, access: Access.ReadWrite, ram: isRam(iova) };
  }
  const region = new VtdRegion('VT-d', state, requester, { iotlb: false });
  const index = pasid ?? 0;
  const entry = region.translatePage(page, access, index);
  if (entry.fault !== undefined) {
    return { kind: 'fault', fault: outcomeFault(entry.fault), writeFault: undefined };
  }
  if (entry.access === Access.None) {
    // Asking is no access and so no fault: say what a read and what a write would meet.
    const [read, write] = [Access.Read, Access.Write].map(
      (kind) => region.translatePage(page, kind, index).fault,
    );
    return {
      kind: 'fault',
      fault: outcomeFault(read ?? NOTHING),
      writeFault: write === undefined || write.code === read?.code ? undefined : outcomeFault(write),
    };
  }
  const gpa = (BigInt(entry.target + (page - entry.iova)) << 12n) | (iova & 0xfffn);
  const passesThrough = region.translation(index).kind === 'pass-through';
  return {
    kind: passesThrough ? 'pass-through' : 'translated',
    gpa,
    access: entry.access,
    ram: isRam(gpa),
  };
}

const NOTHING = { code: 0, reason: 'nothing is mapped here' };

function outcomeFault(fault: { readonly code: number; readonly reason: string }): OutcomeFault {
  const known = faultReason(fault.code);
  return known === undefined
    ? { code: fault.code, condition: 'unknown', reason: fault.reason }
    : { code: fault.code, condition: known.condition, reason: known.text };
}
