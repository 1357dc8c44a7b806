/** Descriptors for the invalidation queue, as a guest's driver composes them (VT-d 6.5.2): four words each. @module */
import type { RequesterId } from '../../iommu/index.ts';
import { spec } from '../../models/vtd/index.ts';
import type { QueueEntry } from '../driver/queue.ts';

/** The words of a descriptor, low first. */
export type Descriptor = QueueEntry;

/** What a context-cache invalidation names (VT-d 6.5.2.1). */
export type ContextScope =
  | 'global'
  | { readonly domain: number }
  /** `domain` is 0 for an entry that was not present before (VT-d 6.1). */
  | { readonly domain: number; readonly requester: RequesterId; readonly functionMask?: number };

/** What an IOTLB invalidation names (VT-d 6.5.2.3). */
export type IotlbScope =
  | 'global'
  | { readonly domain: number }
  | {
      readonly domain: number;
      /** First page; the unit ignores the low `am` bits. */
      readonly iova: number;
      /** Address mask: log2 of the pages, 0 to CAP_REG.MAMV. */
      readonly am: number;
      /** Invalidation hint: only leaf entries changed. */
      readonly ih?: boolean;
    };

/** A context-cache invalidation. */
export function contextInvalidation(scope: ContextScope): Descriptor {
  const words = descriptor(spec.TYPE_CC_INV_DSC);
  const { G, DID, SID, FM } = spec.CC_INV_DSC.fields;
  if (scope === 'global') {
    spec.writeField(words, G, spec.CC_GLOBAL);
    return words;
  }
  spec.writeField(words, DID, scope.domain);
  spec.writeField(words, G, 'requester' in scope ? spec.CC_DEVICE : spec.CC_DOMAIN);
  if ('requester' in scope) {
    spec.writeField(words, SID, scope.requester);
    spec.writeField(words, FM, scope.functionMask ?? 0);
  }
  return words;
}

/** An IOTLB invalidation; it drains what the unit can drain, as Linux asks. */
export function iotlbInvalidation(scope: IotlbScope, capability: spec.Capability): Descriptor {
  const words = descriptor(spec.TYPE_IOTLB_INV_DSC);
  const { G, DW, DR, DID, AM, IH, ADDR } = spec.IOTLB_INV_DSC.fields;
  spec.writeField(words, DW, capability.DWD ? 1 : 0);
  spec.writeField(words, DR, capability.DRD ? 1 : 0);
  if (scope === 'global') {
    spec.writeField(words, G, spec.IOTLB_GLOBAL);
    return words;
  }
  spec.writeField(words, DID, scope.domain);
  spec.writeField(words, G, 'iova' in scope ? spec.IOTLB_PAGE : spec.IOTLB_DOMAIN);
  if ('iova' in scope) {
    spec.writeField(words, AM, scope.am);
    spec.writeField(words, IH, scope.ih === true ? 1 : 0);
    spec.writeField(words, ADDR, scope.iova);
  }
  return words;
}

/** A PASID-cache invalidation of everything, or of one PASID of a domain (VT-d 6.5.2.2). */
export function pasidCacheInvalidation(
  scope: 'global' | { readonly domain: number; readonly pasid: number },
): Descriptor {
  const words = descriptor(spec.TYPE_PC_INV_DSC);
  const { G, DID, PASID } = spec.PC_INV_DSC.fields;
  spec.writeField(words, G, scope === 'global' ? spec.PC_GLOBAL : spec.PC_PASID);
  if (scope !== 'global') {
    spec.writeField(words, DID, scope.domain);
    spec.writeField(words, PASID, scope.pasid);
  }
  return words;
}

/** A PASID-based IOTLB invalidation of all pages of one PASID of a domain (VT-d 6.5.2.4). */
export function pasidIotlbInvalidation(scope: {
  readonly domain: number;
  readonly pasid: number;
}): Descriptor {
  const words = descriptor(spec.TYPE_P_IOTLB_INV_DSC);
  const { G, DID, PASID } = spec.P_IOTLB_INV_DSC.fields;
  spec.writeField(words, G, spec.PIOTLB_PASID);
  spec.writeField(words, DID, scope.domain);
  spec.writeField(words, PASID, scope.pasid);
  return words;
}

/** A wait whose completion writes `status` to word `word` of `page` (VT-d 6.5.2.8). */
export function waitWithStatus(page: number, word: number, status: number): Descriptor {
  const words = descriptor(spec.TYPE_INV_WAIT_DSC);
  const { SW, STDATA, STADDR_WORD, STADDR_PAGE } = spec.INV_WAIT_DSC.fields;
  spec.writeField(words, SW, 1);
  spec.writeField(words, STDATA, status);
  spec.writeField(words, STADDR_WORD, word);
  spec.writeField(words, STADDR_PAGE, page);
  return words;
}

function descriptor(type: number): number[] {
  return [type, 0, 0, 0];
}
