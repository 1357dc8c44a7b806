/** IOMMU notifiers: who is told of changes, and what. @module */
import { bytesOf, formatPage, type PageRange } from '../memory/index.ts';
import type { Mapping } from './leaf-batch.ts';
import type { WalkReport } from './walk-report.ts';

/**
 * What a notifier asks for.
 * - `unmap`: a cache (vhost). Told of ranges that may have changed, which may be wider than what did.
 * - `map-and-unmap`: a shadow (VFIO). Told of each mapping exactly: what is mapped, and what that was told is gone.
 * - `device-iotlb-unmap`: a device's own translation cache (ATS). Told of device-TLB invalidations only.
 */
export type NotifierEvents = 'unmap' | 'map-and-unmap' | 'device-iotlb-unmap';

/** One change. Lent for the call and reused. */
export interface IommuEvent extends Mapping {
  readonly op: 'map' | 'unmap';
  /**
   * Shadows only: whether the target is RAM that the access fits. A mapping onto a hole or a device, or one for writing
   * alone onto ROM, is told with false, and so is its end: such a mapping must never be given to a host IOMMU. Mappings
   * of RAM end where the RAM section ends.
   */
  readonly ram: boolean;
}

/** Why a replay or a reconcile stopped before its end. */
export type Incomplete =
  | { readonly kind: 'refused'; readonly mapping: Mapping }
  | { readonly kind: 'walk-cut'; readonly report: WalkReport }
  | { readonly kind: 'sink-failed'; readonly error: unknown }
  | { readonly kind: 'unsupported'; readonly remedy: string };

/** One sentence for people: what stopped, where, and the remedy. */
export function describeIncomplete(why: Incomplete): string {
  switch (why.kind) {
    case 'refused': {
      const { iova, pages } = why.mapping;
      return `the sink refused the mapping of ${bytesOf(pages)} bytes at IOVA ${formatPage(iova)}`;
    }
    case 'walk-cut': {
      const { entries, leaves, cutAt, budget } = why.report;
      return (
        `the walk was cut at IOVA ${formatPage(cutAt ?? 0)} after ${entries} table entries and ${leaves} leaves ` +
        `(budget ${budget.entries} and ${budget.leaves}): raise the budget if the guest may have that many mappings`
      );
    }
    case 'unsupported':
      return why.remedy;
    case 'sink-failed':
      return `the sink failed: ${why.error instanceof Error ? why.error.message : String(why.error)}`;
  }
}

/** A consumer of IOMMU events. The region never changes it. */
export interface IommuNotifier {
  readonly events: NotifierEvents;
  /**
   * Pages that interest it, counted from the region's start. Leaves that reach over its edges are cropped; such a leaf
   * is looked at again when any page of it is invalidated, within the range or not.
   */
  readonly range: PageRange;
  /** Which translation of the region (a PASID); 0 for requests without one. */
  readonly index: number;
  /**
   * Takes one event. A shadow that cannot take a mapping returns false: the mapping counts as never told and nothing
   * more is sent of this change. It may register and unregister notifiers meanwhile, itself included; one that is
   * unregistered before it returns from a `map` has not taken that mapping.
   */
  notify(event: IommuEvent): boolean | void;
  /** Resolves, or returns, when everything notified has taken effect. */
  barrier?(): void | Promise<void>;
  /** A change after registration could not be followed to its end, or notify() threw. The notifier is still registered. */
  incomplete?(why: Incomplete): void;
}

/** What a replay did. */
export interface ReplayReport {
  /** Mappings told. */
  readonly mappings: number;
  /** What the walk cost, and the table faults that it met. */
  readonly walk: WalkReport;
}

/** A model cannot serve a notifier; the message says why and what would help. */
export class NotifierRefusedError extends Error {
  readonly code = 'VIOMMU_NOTIFIER_REFUSED';
  override readonly name = 'NotifierRefusedError';
}

/** A replay could not be completed; nothing of the registration is left. */
export class ReplayError extends Error {
  readonly code = 'VIOMMU_REPLAY_INCOMPLETE';
  override readonly name = 'ReplayError';
  readonly why: Incomplete;

  constructor(message: string, why: Incomplete) {
    super(message, why.kind === 'sink-failed' ? { cause: why.error } : undefined);
    this.why = why;
  }
}
