import { type Observer, overlaps, type PageRange } from '../../memory/index.ts';
import type { DomainTable } from './domain-table.ts';
import type { EndpointSpaces } from './endpoint-spaces.ts';
import type { VirtioIommuSettings } from './options.ts';

/** What requests work on. */
export interface RequestParts {
  readonly settings: VirtioIommuSettings;
  readonly table: DomainTable;
  readonly spaces: EndpointSpaces;
  readonly observer: Observer | undefined;
  /** Whether a feature was negotiated. */
  has(feature: bigint): boolean;
}

/** What becomes of a request: its status, which a step that is refused in the end changes. */
export interface Outcome {
  status: number;
}

/** Tells of a request that hosts refused; `what` is its name and what it asked for. */
export function observeRefused(observer: Observer | undefined, what: string, reason: string): void {
  observer?.observe({
    kind: 'request-refused',
    source: 'virtio-iommu',
    message: `the ${what} was refused, and nothing changed: ${reason}`,
  });
}

/** Whether a range touches a region that no request can map. */
export function touchesReserved({ reservedPages }: VirtioIommuSettings, range: PageRange): boolean {
  return reservedPages.some((reserved) => overlaps(reserved, range));
}
