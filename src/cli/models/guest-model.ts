/**
 * What a kind of IOMMU is to the commands. Each model has a folder beside this file with one implementation, and stands
 * in `models.ts`; nothing else in the commands knows one model from another.
 *
 * @module
 */
import type { Capture } from '../../guests/index.ts';
import type { AddressSpace } from '../../memory/index.ts';
import type { CoreModel } from './core-model.ts';
import type { OpenIommu } from './open-iommu.ts';

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
