/** Endpoints, domains and faults of a virtio IOMMU as the commands show them. @module */
import type { RequesterId } from '../../../iommu/index.ts';
import { formatPage, type TranslationFault } from '../../../memory/index.ts';
import { spec, type VirtioIommu } from '../../../models/virtio/index.ts';
import { formatPages, formatPerm } from '../../terminal/text.ts';
import type { FaultWords } from '../fault-words.ts';
import type { Trace, TraceStep } from '../trace.ts';
import type { Translation } from '../translation.ts';

const CONDITIONS: Readonly<Record<number, string>> = {
  [spec.FAULT_R_UNKNOWN]: 'VIRTIO_IOMMU_FAULT_R_UNKNOWN',
  [spec.FAULT_R_DOMAIN]: 'VIRTIO_IOMMU_FAULT_R_DOMAIN',
  [spec.FAULT_R_MAPPING]: 'VIRTIO_IOMMU_FAULT_R_MAPPING',
};

/** The specification's name of a fault reason (virtio 5.13.6.9). */
export function virtioFault({ code, reason }: TranslationFault): FaultWords {
  return { code, condition: CONDITIONS[code] ?? 'unknown', reason };
}

/** How requests of `endpoint` are translated. */
export function translationOf(iommu: VirtioIommu, endpoint: RequesterId): Translation {
  const domain = iommu.domainOf(endpoint);
  if (domain === undefined) {
    return iommu.isBypassing(endpoint)
      ? { kind: 'pass-through', text: 'bypass: attached to no domain', domain: undefined }
      : { kind: 'fault', fault: virtioFault(UNATTACHED) };
  }
  const { id, isBypass } = domain;
  if (isBypass) return { kind: 'pass-through', text: `bypass: attached to bypass domain ${id}`, domain: id };
  const text = `domain ${id}, mapped by request`;
  return { kind: 'mapped', by: 'domain', text, domain: id, key: `${id}`, shared: 'domain' };
}

/** The endpoint's domain and what is mapped at `page` in it. */
export function traceVirtio(iommu: VirtioIommu, endpoint: RequesterId, page: number): Trace {
  const translation = translationOf(iommu, endpoint);
  const domain = iommu.domainOf(endpoint);
  const attached = domain === undefined ? 'attached to no domain' : `attached to domain ${domain.id}`;
  const steps = [step(`endpoint ${endpoint}`, attached)];
  if (domain === undefined || domain.isBypass) return { translation, steps, leafPages: undefined };
  const found = domain.mappings.find(page);
  const mapped =
    found === undefined
      ? 'nothing is mapped here'
      : `mapping of ${formatPages(found.pages)} at ${formatPage(found.iova)} -> ${formatPage(found.target)}, ` +
        (formatPerm(found.flags) || 'permits nothing');
  steps.push(step(`domain ${domain.id}`, mapped));
  return { translation, steps, leafPages: found?.pages };
}

const UNATTACHED: TranslationFault = {
  code: spec.FAULT_R_DOMAIN,
  reason: 'the endpoint is not attached to a domain',
};

function step(what: string, meaning: string): TraceStep {
  return { depth: 0, what, table: undefined, index: undefined, entry: [], meaning };
}
