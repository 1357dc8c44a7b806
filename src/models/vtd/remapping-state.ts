import type { RequesterId } from '../../iommu/index.ts';
import type { AddressSpace } from '../../memory/index.ts';
import type { Capability } from './spec/index.ts';

/** A DMA request that could not be translated, as the fault logic takes it (VT-d 7.1). */
export interface FaultingRequest {
  readonly requester: RequesterId;
  /** Page that the device asked for. */
  readonly page: number;
  /** `r` for a read, `w` for a write. */
  readonly isWrite: boolean;
  /** PASID of the request; undefined for a request without one. */
  readonly pasid: number | undefined;
  /** Fault reason (FRCD_REG.FR). */
  readonly code: number;
  /** FPD was set in a structure that the request reached: a qualified fault is not recorded. */
  readonly fpd: boolean;
}

/** What translation needs to know of a remapping unit. The unit keeps it; the paths that translate only read it. */
export interface RemappingState {
  readonly capability: Capability;
  /** Host address width in bits: address bits above it are reserved in every structure. */
  readonly haw: number;
  /** Guest-physical memory: where tables are and where translated requests go. */
  readonly memory: AddressSpace;
  /** GSTS_REG.TES. */
  readonly translationEnabled: boolean;
  /** Page of the root table, latched from RTADDR_REG by Set Root Table Pointer. */
  readonly rootTable: number;
  /** RTADDR_REG.TTM, latched likewise. */
  readonly translationTableMode: number;
  /**
   * The guest is stopped for good, as in a capture: its tables will not change, so every notifier can be served
   * whatever the guest would have to report if it ran.
   */
  readonly guestStopped: boolean;
  /** Takes a fault that a request met. */
  recordFault(request: FaultingRequest): void;
}
