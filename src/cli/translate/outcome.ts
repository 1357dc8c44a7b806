/** What becomes of one request, in the end. @module */
import type { RequesterId } from '../../iommu/index.ts';
import { Access, type PageRange, pageOf, RamRegion } from '../../memory/index.ts';
import type { FaultWords } from '../models/fault-words.ts';
import type { OpenIommu } from '../models/open-iommu.ts';

/** Where a request ends. */
export type Outcome =
  /** A write here is an interrupt request; nothing translates it. */
  | { readonly kind: 'interrupt'; readonly range: PageRange; readonly rule: string }
  | { readonly kind: 'fault'; readonly fault: FaultWords; readonly writeFault: FaultWords | undefined }
  /** `pass-through`: the requester's structures say so. */
  | ({ readonly kind: 'translated' | 'pass-through' } & Reached)
  /** Nothing about the requester matters: `why` says what does. */
  | ({ readonly kind: 'untranslated'; readonly why: string } & Reached);

/** What a request reaches. */
export interface Reached {
  /** Guest-physical byte address. */
  readonly gpa: bigint;
  /** What the tables permit. */
  readonly access: Access;
  /** Whether the guest has RAM there. */
  readonly ram: boolean;
}

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
export function outcomeOf(unit: OpenIommu, request: Request): Outcome {
  const { requester, pasid, iova, access } = request;
  const page = pageOf(iova);
  const region = unit.region(requester);
  const { target: memory } = region;
  const isRam = (gpa: bigint): boolean => memory.view.find(pageOf(gpa))?.region instanceof RamRegion;
  const interrupts = pasid === undefined ? unit.interrupts : undefined;
  if (interrupts !== undefined && page >= interrupts.range.start && page < interrupts.range.end) {
    return { kind: 'interrupt', ...interrupts };
  }
  const why = unit.off === undefined ? unit.exempt(requester, page) : `translation is off (${unit.off})`;
  if (why !== undefined) {
    return { kind: 'untranslated', gpa: iova, access: Access.ReadWrite, ram: isRam(iova), why };
  }
  const index = pasid ?? 0;
  const entry = region.translatePage(page, access, index);
  if (entry.fault !== undefined) {
    return { kind: 'fault', fault: unit.describeFault(entry.fault), writeFault: undefined };
  }
  if (entry.access === Access.None) {
    // Asking is no access and so no fault: say what a read and what a write would meet.
    const [read, write] = [Access.Read, Access.Write].map(
      (kind) => region.translatePage(page, kind, index).fault,
    );
    return {
      kind: 'fault',
      fault: unit.describeFault(read ?? NOTHING),
      writeFault: write === undefined || write.code === read?.code ? undefined : unit.describeFault(write),
    };
  }
  const gpa = (BigInt(entry.target + (page - entry.iova)) << 12n) | (iova & 0xfffn);
  const passesThrough = unit.translation(requester, pasid).kind === 'pass-through';
  return {
    kind: passesThrough ? 'pass-through' : 'translated',
    gpa,
    access: entry.access,
    ram: isRam(gpa),
  };
}

const NOTHING = { code: 0, reason: 'nothing is mapped here' };
