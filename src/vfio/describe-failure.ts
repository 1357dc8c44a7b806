import type { Mapping } from '../iommu/index.ts';
import { Access, formatPage } from '../memory/index.ts';
import { formatSize } from './format-size.ts';
import { type HostIommu, HostRefusedError, type HostRefusal } from './host-iommu.ts';
import { formatRefusal, type Quarantine, type Refusal } from './refusal.ts';
import type { SectionReporter } from './section-reporter.ts';

/** What helps with a host that can be opened anew. */
const REOPEN_REMEDY = 'see to it that the host can be reached, and release the device or plug it again';

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
export function describeLost(host: HostIommu, error: unknown): Refusal {
  const { name } = host;
  const message = messageOf(error);
  return {
    cause: 'host-lost',
    mapping: undefined,
    reason:
      error instanceof HostRefusedError
        ? `host ${name} did not carry out an unmap and may still let the device reach memory (${message})`
        : `host ${name} is lost (${message})`,
    remedy:
      host.reopen === undefined
        ? 'unplug the device, end its connection to the host, and plug it anew'
        : REOPEN_REMEDY,
    error,
  };
}

/** A host that is still lost; `error` is what its `reopen` threw. */
export function describeNotReopened(host: string, error: unknown): Refusal {
  return {
    cause: 'host-lost',
    mapping: undefined,
    reason: `host ${host} is lost and could not be opened anew (${messageOf(error)})`,
    remedy: REOPEN_REMEDY,
    error,
  };
}

/** The quarantine of a device for this reason. */
export function quarantineFor(refusal: Refusal): Quarantine {
  return { ...refusal, kind: refusal.cause === 'host-lost' ? 'host-lost' : 'quarantined' };
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
