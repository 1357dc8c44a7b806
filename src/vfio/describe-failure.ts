import type { Mapping } from '../iommu/index.ts';
import { Access, formatPage } from '../memory/index.ts';
import { formatSize } from './format-size.ts';
import { HostRefusedError, type HostRefusal } from './host-iommu.ts';
import { formatRefusal, type Refusal } from './refusal.ts';
import type { SectionReporter } from './section-reporter.ts';

/** A host's refusal of a mapping; `standing` is what the guest has at its IOVA now. */
export function describeRefused(host: string, refusal: HostRefusal, standing: Mapping | undefined): Refusal {
  const { iova, pages, errno, reason } = refusal;
  const known = standing !== undefined && standing.iova === iova && standing.pages === pages;
  return {
    cause: 'host-refused',
    mapping: known ? standing : { iova, pages, target: 0, access: Access.None },
    errno,
    reason: `host ${host} refused to map ${formatSize(pages)} at IOVA ${formatPage(iova)} with ${errno}`,
    remedy: reason,
  };
}

/** The loss of a host; `error` is what its barrier threw. */
export function describeLost(host: string, error: unknown): Refusal {
  const message = error instanceof Error ? error.message : String(error);
  return {
    cause: 'host-lost',
    mapping: undefined,
    reason:
      error instanceof HostRefusedError
        ? `host ${host} did not carry out an unmap and may still let the device reach memory (${message})`
        : `host ${host} is lost (${message})`,
    remedy: 'unplug the device, end its connection to the host, and plug it anew',
    error,
  };
}

/** Reports a quarantine, or the loss of a host. */
export function observeFailure(reporter: SectionReporter, container: string, refusal: Refusal): void {
  const { cause, mapping, errno } = refusal;
  reporter.observe({
    kind: cause === 'host-lost' ? 'host-lost' : 'quarantined',
    message: `${container} is cut off from memory: ${formatRefusal(refusal)}`,
    details: {
      cause,
      ...(mapping === undefined ? {} : { iova: formatPage(mapping.iova), pages: mapping.pages }),
      ...(errno === undefined ? {} : { errno }),
    },
  });
}
