/** Why a device cannot be, or is no longer, given what its guest mapped. @module */
import type { Mapping } from '../iommu/index.ts';

/**
 * What stands in the way.
 * - `page-size`, `aperture`, `too-many-mappings`: the mapping does not fit what the host announced.
 * - `host-refused`: the host announced that it fits and refused it all the same.
 * - `iommu-refused`: the guest's IOMMU cannot tell a device of its mappings, or not of all of them.
 * - `host-lost`: what the host holds is no longer known.
 */
export type RefusalCause =
  | 'page-size'
  | 'aperture'
  | 'too-many-mappings'
  | 'host-refused'
  | 'iommu-refused'
  | 'host-lost';

/** One reason for which a device gets no mappings. */
export interface Refusal {
  readonly cause: RefusalCause;
  /**
   * The mapping that was refused, in pages of the device's address space; undefined when it is no single one. A
   * mapping that the guest withdrew before the host's refusal arrived has target 0 and access `None`.
   */
  readonly mapping: Mapping | undefined;
  /** The host's errno name, such as `ENOSPC`, when the host gave one. */
  readonly errno?: string;
  /** With cause `page-size`: both page sizes, in bytes. */
  readonly pageSizes?: { readonly guest: bigint; readonly host: bigint };
  /** One sentence without its full stop: what, and at which IOVA. */
  readonly reason: string;
  /** What would help, as an instruction without its full stop. */
  readonly remedy: string;
  /** The error behind it, when there is one. */
  readonly error?: unknown;
}

/**
 * A device cut off from memory: none of its mappings are left in the host, and none are made until it is released.
 * With kind `host-lost` the host did not confirm that, and cannot be used any more.
 */
export interface Quarantine extends Refusal {
  readonly kind: 'quarantined' | 'host-lost';
}

/** `REASON: REMEDY`, for people. */
export function formatRefusal(refusal: Refusal): string {
  return `${refusal.reason}: ${refusal.remedy}`;
}

/** A plug, or the release of a quarantined device, was refused as a whole: nothing of it remains in the host. */
export class PlugRefusedError extends Error {
  readonly code = 'VIOMMU_PLUG_REFUSED';
  override readonly name = 'PlugRefusedError';
  /** What was refused, where, and the remedy. */
  readonly refusal: Refusal;

  /** `container` and `host` are names for people. */
  constructor(container: string, host: string, refusal: Refusal) {
    super(
      `${container} cannot be given its mappings on host ${host}: ${formatRefusal(refusal)}`,
      refusal.error === undefined ? undefined : { cause: refusal.error },
    );
    this.refusal = refusal;
  }
}
