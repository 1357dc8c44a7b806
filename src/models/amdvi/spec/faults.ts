/**
 * What can be wrong with a request, and how the event log tells it (AMD-Vi 2.5.2 to 2.5.5, 2.5.9).
 *
 * @module
 */

import * as event from './events.ts';

/** One reason. */
export interface FaultReason {
  /**
   * Bits 63:48 of the event log entry, RW left out: event code in bits 15:12, type, and the indicators TR, RZ, PE, PR, I.
   * Several reasons look alike in the log.
   */
  readonly code: number;
  /** One sentence for people. */
  readonly reason: string;
}

const I = 0x08;
const PR = 0x10;
const PE = 0x40;
const RZ = 0x80;

function fault(eventCode: number, indicators: number, text: string): FaultReason {
  return {
    code: (eventCode << 12) | indicators,
    reason: `${event.EVENT_NAMES[eventCode] ?? ''}: ${text}`,
  };
}

const MASTER_ABORT = event.ERROR_MASTER_ABORT << 9;

/** The device table has no entry for the device. */
export const DEVICE_BEYOND_TABLE: FaultReason = fault(
  event.ILLEGAL_DEV_TABLE_ENTRY,
  0,
  'the device table is too short to hold an entry of this device',
);
/** A reserved bit of the device table entry is set. */
export const ENTRY_RESERVED_BIT: FaultReason = fault(
  event.ILLEGAL_DEV_TABLE_ENTRY,
  RZ,
  'the device table entry has a reserved bit set',
);
/** Mode is 7, or more than HATS allows. */
export const ENTRY_MODE: FaultReason = fault(
  event.ILLEGAL_DEV_TABLE_ENTRY,
  0,
  'the device table entry has a Mode that the IOMMU cannot use',
);
/** The device table entry does not lie in RAM. */
export const ENTRY_UNREADABLE: FaultReason = fault(
  event.DEV_TAB_HARDWARE_ERROR,
  MASTER_ABORT,
  'the device table entry could not be read',
);
/** V is set and TV is not. */
export const TRANSLATION_INVALID: FaultReason = fault(
  event.IO_PAGE_FAULT,
  0,
  'the device table entry has V set and TV clear',
);
/** Guest translation, which requests with PASID need, is not modelled. */
export const PASID_NOT_TRANSLATED: FaultReason = fault(
  event.IO_PAGE_FAULT,
  0,
  'the request has a PASID, and no guest translation is there for it',
);
/** The address has bits set above those that the tables translate. */
export const BEYOND_TABLES: FaultReason = fault(
  event.IO_PAGE_FAULT,
  0,
  'the address is beyond what the tables translate',
);
/** An entry is not present. */
export const PAGE_NOT_PRESENT: FaultReason = fault(event.IO_PAGE_FAULT, 0, 'the page is not present');
/** The address has a bit set that belongs to a level which the tables skip. */
export const SKIPPED_BIT: FaultReason = fault(
  event.IO_PAGE_FAULT,
  PR,
  'the address has a bit set that belongs to a level which the tables skip',
);
/** The device table entry and the levels together do not permit the access. */
export const NO_PERMISSION: FaultReason = fault(
  event.IO_PAGE_FAULT,
  PR | PE,
  'the device table entry and the tables do not permit the access',
);
/** A reserved bit of a present page table entry is set. */
export const PAGE_RESERVED_BIT: FaultReason = fault(
  event.IO_PAGE_FAULT,
  PR | RZ,
  'a present page table entry has a reserved bit set',
);
/** NextLevel is not below the entry's own level, or the encoded page size does not belong to the level. */
export const LEVEL_INVALID: FaultReason = fault(
  event.IO_PAGE_FAULT,
  PR,
  'a present page table entry has a NextLevel or a page size that its level cannot have',
);
/** A page table does not lie in RAM. */
export const TABLE_UNREADABLE: FaultReason = fault(
  event.PAGE_TAB_HARDWARE_ERROR,
  MASTER_ABORT,
  'a page table entry could not be read',
);
/** The device table has no entry for a device that sends an interrupt. */
export const INTERRUPT_BEYOND_TABLE: FaultReason = fault(
  event.ILLEGAL_DEV_TABLE_ENTRY,
  I,
  'the device table is too short to hold an entry of the device that sends this interrupt',
);
/** IntCtl holds its reserved value, or a reserved bit of the half about interrupts is set. */
export const INTERRUPT_ENTRY_ILLEGAL: FaultReason = fault(
  event.ILLEGAL_DEV_TABLE_ENTRY,
  I | RZ,
  'the device table entry has a reserved IntCtl or a reserved bit set among its interrupt fields',
);
/** The device table entry of a device that sends an interrupt does not lie in RAM. */
export const INTERRUPT_ENTRY_UNREADABLE: FaultReason = fault(
  event.DEV_TAB_HARDWARE_ERROR,
  I | MASTER_ABORT,
  'the device table entry could not be read for an interrupt',
);
/** What is no interrupt request was sent to the interrupt address range. */
export const NO_INTERRUPT: FaultReason = fault(
  event.INVALID_DEVICE_REQUEST,
  event.REQUEST_NO_INTERRUPT << 9,
  'a request in the interrupt address range is no interrupt request',
);
/** IntCtl blocks interrupts. */
export const INTERRUPT_BLOCKED: FaultReason = fault(
  event.INVALID_DEVICE_REQUEST,
  event.REQUEST_INTERRUPT_BLOCKED << 9,
  'the device table entry blocks interrupts',
);
