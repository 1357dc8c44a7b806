import type { RequesterId } from '../../iommu/index.ts';
import type { AddressSpace, PageRange, TranslationFault } from '../../memory/index.ts';
import type { Capability } from './spec/index.ts';

/** Where the device table is (Device Table Base). */
export interface DeviceTable {
  /** First page. */
  readonly page: number;
  /** Entries that it holds; a DeviceID from this on has none. */
  readonly entries: number;
}

/** The exclusion range (Exclusion Base, Exclusion Range Limit) while ExEn is set. */
export interface Exclusion {
  readonly range: PageRange;
  /** Allow: every device passes untranslated there, not only those whose entry has EX. */
  readonly everyDevice: boolean;
}

/** A request that could not be done, as the event log takes it (AMD-Vi 2.5). */
export interface FaultingRequest {
  readonly requester: RequesterId;
  /** Page that the device asked for. */
  readonly page: number;
  readonly isWrite: boolean;
  /** A reason of spec/faults.ts. */
  readonly fault: TranslationFault;
  /** Byte address for the log: of a table entry that could not be read, or of the access. Undefined: where `page` begins. */
  readonly address: bigint | undefined;
  /** DomainID of the device table entry; 0 while none could be read. */
  readonly domain: number;
  /** Which I/O page faults the device table entry keeps out of the log: SE all but the first, SA all. */
  readonly suppress: Suppress;
}

/** SA and SE of a device table entry; SA prevails. */
export type Suppress = 'none' | 'repeated' | 'all';

/** What translation needs to know of an IOMMU. The IOMMU keeps it; the paths that translate only read it. */
export interface AmdviState {
  readonly capability: Capability;
  /** Guest-physical memory: where tables are and where translated requests go. */
  readonly memory: AddressSpace;
  /** IommuEn. While it is clear every request passes untranslated. */
  readonly enabled: boolean;
  readonly deviceTable: DeviceTable;
  readonly exclusion: Exclusion | undefined;
  /**
   * The guest is stopped for good, as in a capture: its tables will not change, so every notifier can be served
   * whatever the guest would have to report if it ran.
   */
  readonly guestStopped: boolean;
  /** Takes a fault that a request met. */
  recordFault(request: FaultingRequest): void;
}
