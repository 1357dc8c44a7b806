import type { Capture } from '../../guests/index.ts';
import type { GuestIommu, IommuRegion, RequesterId } from '../../iommu/index.ts';
import type { PageRange, TranslationFault } from '../../memory/index.ts';
import type { FaultWords } from './fault-words.ts';
import type { RecordedGuest } from './recorded-guest.ts';
import type { Trace } from './trace.ts';
import type { RequesterFinding, Translation } from './translation.ts';

/** A guest's IOMMU, opened: all that the commands ask of it. */
export interface OpenIommu {
  readonly iommu: GuestIommu;
  /** What it does as a whole, in one line for people. */
  readonly summary: string;
  /** Why requests are not translated at all, such as `GSTS_REG.TES is 0`; undefined when they are. */
  readonly off: string | undefined;
  /** What is said when no requester is translated. */
  readonly nobody: string;
  /** Where requests without PASID are interrupts, and the rule that says so; undefined when nowhere. */
  readonly interrupts: { readonly range: PageRange; readonly rule: string } | undefined;

  /** Why requests of `requester` for page `page` are not translated though others of it are; undefined when they are. */
  exempt(requester: RequesterId, page: number): string | undefined;

  /** Every requester that the IOMMU knows, ascending; with `pasid`, those that translate it. */
  requesters(pasid: number | undefined): Iterable<RequesterFinding>;

  /** How requests of `requester` are translated; it must not be off. */
  translation(requester: RequesterId, pasid: number | undefined): Translation;

  /** Everything that decides about page `page`. Changes nothing. */
  trace(requester: RequesterId, pasid: number | undefined, page: number): Trace;

  /** The mappings of `requester`, to be asked and walked; its translation index is the PASID, or 0. Not the one that devices use. */
  region(requester: RequesterId): IommuRegion;

  /** The specification's words for a fault. */
  describeFault(fault: TranslationFault): FaultWords;

  /** Why a device with this requester ID could not be followed if the guest ran; undefined when it could. */
  unfollowable(requester: RequesterId): string | undefined;

  /**
   * The guest, ready to do again what `capture`, which this was opened from, has recorded of it after the plug and what
   * concerns `requester`; undefined when that is nothing.
   */
  recorded(capture: Capture, requester: RequesterId): Promise<RecordedGuest | undefined>;
}
