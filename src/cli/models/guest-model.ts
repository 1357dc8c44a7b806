/**
 * What a kind of IOMMU is to the commands. Each model has a folder beside this file with one implementation, and stands
 * in `models.ts`; nothing else in the commands knows one model from another.
 *
 * @module
 */
import type { Capture } from '../../guests/index.ts';
import type { GuestIommu, IommuRegion, RequesterId } from '../../iommu/index.ts';
import type { AddressSpace, PageRange, TranslationFault } from '../../memory/index.ts';
import type { CoreModel } from './core-model.ts';
import type { FaultWords } from './fault-words.ts';
import type { RecordedGuest } from './recorded-guest.ts';
import type { Trace } from './trace.ts';
import type { RequesterFinding, Translation } from './translation.ts';

/** A kind of IOMMU. */
export interface GuestModel {
  /** As `--model` and captures spell it, the usual spelling first. */
  readonly names: readonly [string, ...string[]];
  /** What people call it, such as `Intel VT-d`. */
  readonly title: string;
  /** Whether it translates by tables in guest memory, which a capture then has to hold. */
  readonly hasTables: boolean;
  /** Whether requests may carry a PASID. */
  readonly hasPasids: boolean;
  /** How it is opened on a core of guest memory; undefined when such a core does not hold what it translates by. */
  readonly core: CoreModel | undefined;

  /**
   * Builds the IOMMU of a capture in the state that `opening` names.
   *
   * @throws GuestFileError for a capture that lacks what this model needs, or contradicts itself
   */
  openCapture(opening: CaptureOpening): OpenIommu | Promise<OpenIommu>;
}

/** What of a capture to open. */
export interface CaptureOpening {
  readonly capture: Capture;
  /** Path of capture.json, for errors. */
  readonly file: string;
  /** The guest's memory in the state that is asked for. */
  readonly memory: AddressSpace;
  /** The state after what was recorded instead of the one at the plug. */
  readonly final: boolean;
  /** The guest will not run again, so that every device can be served. */
  readonly guestStopped: boolean;
  /** Whether translations are cached; true when left out. */
  readonly iotlb?: boolean;
}

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
