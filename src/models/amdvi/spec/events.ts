/**
 * Entries of the event log (AMD-Vi 2.5): 128 bits each, the event code in bits 63:60.
 *
 * @module
 */

import { type Bits, type Layout, layout, writeField } from '../../layout.ts';

export const ILLEGAL_DEV_TABLE_ENTRY = 0x1;
export const IO_PAGE_FAULT = 0x2;
export const DEV_TAB_HARDWARE_ERROR = 0x3;
export const PAGE_TAB_HARDWARE_ERROR = 0x4;
export const ILLEGAL_COMMAND_ERROR = 0x5;
export const COMMAND_HARDWARE_ERROR = 0x6;
export const IOTLB_INV_TIMEOUT = 0x7;
export const INVALID_DEVICE_REQUEST = 0x8;

/** Names of the event codes. */
export const EVENT_NAMES: Readonly<Record<number, string>> = {
  [ILLEGAL_DEV_TABLE_ENTRY]: 'ILLEGAL_DEV_TABLE_ENTRY',
  [IO_PAGE_FAULT]: 'IO_PAGE_FAULT',
  [DEV_TAB_HARDWARE_ERROR]: 'DEV_TAB_HARDWARE_ERROR',
  [PAGE_TAB_HARDWARE_ERROR]: 'PAGE_TAB_HARDWARE_ERROR',
  [ILLEGAL_COMMAND_ERROR]: 'ILLEGAL_COMMAND_ERROR',
  [COMMAND_HARDWARE_ERROR]: 'COMMAND_HARDWARE_ERROR',
  [IOTLB_INV_TIMEOUT]: 'IOTLB_INV_TIMEOUT',
  [INVALID_DEVICE_REQUEST]: 'INVALID_DEVICE_REQUEST',
};

/** Words and bytes of an event log entry. */
export const EVENT_WORDS = 4;
export const EVENT_BYTES = 16;

const EventCode: Bits = [63, 60];
const DeviceID: Bits = [15, 0];
/** Address bits 31:0 and 63:32. */
const AddressLo: Bits = [95, 64];
const AddressHi: Bits = [127, 96];
const PASID_19_16: Bits = [19, 16];

type Address = 'AddressLo' | 'AddressHi';

/** ILLEGAL_DEV_TABLE_ENTRY (AMD-Vi 2.5.2): Address is the device's. */
export const ILLEGAL_DEV_TABLE_ENTRY_EVENT: Layout<
  'DeviceID' | 'PASID_19_16' | 'PASID_15_0' | 'GN' | 'I' | 'RW' | 'RZ' | 'TR' | 'EventCode' | Address
> = layout(128, {
  DeviceID,
  PASID_19_16,
  PASID_15_0: [47, 32],
  GN: [48, 48],
  I: [51, 51],
  RW: [53, 53],
  RZ: [55, 55],
  TR: [56, 56],
  EventCode,
  AddressLo,
  AddressHi,
});

/** IO_PAGE_FAULT (AMD-Vi 2.5.3): Address is the device's; the domain's place holds PASID bits 15:0 when GN is set. */
export const IO_PAGE_FAULT_EVENT: Layout<
  | 'DeviceID'
  | 'PASID_19_16'
  | 'DomainID'
  | 'GN'
  | 'NX'
  | 'US'
  | 'I'
  | 'PR'
  | 'RW'
  | 'PE'
  | 'RZ'
  | 'TR'
  | 'EventCode'
  | Address
> = layout(128, {
  DeviceID,
  PASID_19_16,
  DomainID: [47, 32],
  GN: [48, 48],
  NX: [49, 49],
  US: [50, 50],
  I: [51, 51],
  PR: [52, 52],
  RW: [53, 53],
  PE: [54, 54],
  RZ: [55, 55],
  TR: [56, 56],
  EventCode,
  AddressLo,
  AddressHi,
});

/** DEV_TAB_HARDWARE_ERROR (AMD-Vi 2.5.4): Address is that of the device table entry. */
export const DEV_TAB_HARDWARE_ERROR_EVENT: Layout<
  'DeviceID' | 'I' | 'RW' | 'TR' | 'Type' | 'EventCode' | Address
> = layout(128, {
  DeviceID,
  I: [51, 51],
  RW: [53, 53],
  TR: [56, 56],
  Type: [58, 57],
  EventCode,
  AddressLo,
  AddressHi,
});

/** PAGE_TAB_HARDWARE_ERROR (AMD-Vi 2.5.5): Address is that of the page table entry. */
export const PAGE_TAB_HARDWARE_ERROR_EVENT: Layout<
  'DeviceID' | 'DomainID' | 'GN' | 'I' | 'RW' | 'TR' | 'Type' | 'EventCode' | Address
> = layout(128, {
  DeviceID,
  DomainID: [47, 32],
  GN: [48, 48],
  I: [51, 51],
  RW: [53, 53],
  TR: [56, 56],
  Type: [58, 57],
  EventCode,
  AddressLo,
  AddressHi,
});

/** ILLEGAL_COMMAND_ERROR (AMD-Vi 2.5.6): Address is that of the command. */
export const ILLEGAL_COMMAND_ERROR_EVENT: Layout<'EventCode' | Address> = layout(128, {
  EventCode,
  AddressLo,
  AddressHi,
});

/** COMMAND_HARDWARE_ERROR (AMD-Vi 2.5.7): Address is where the IOMMU tried to read. */
export const COMMAND_HARDWARE_ERROR_EVENT: Layout<'Type' | 'EventCode' | Address> = layout(128, {
  Type: [58, 57],
  EventCode,
  AddressLo,
  AddressHi,
});

/** IOTLB_INV_TIMEOUT (AMD-Vi 2.5.8): Address is that of the command. */
export const IOTLB_INV_TIMEOUT_EVENT: Layout<'DeviceID' | 'EventCode' | Address> = layout(128, {
  DeviceID,
  EventCode,
  AddressLo,
  AddressHi,
});

/** INVALID_DEVICE_REQUEST (AMD-Vi 2.5.9): Address is the device's. */
export const INVALID_DEVICE_REQUEST_EVENT: Layout<
  'DeviceID' | 'PASID_19_16' | 'PASID_15_0' | 'GN' | 'TR' | 'Type' | 'EventCode' | Address
> = layout(128, {
  DeviceID,
  PASID_19_16,
  PASID_15_0: [47, 32],
  GN: [48, 48],
  TR: [56, 56],
  Type: [59, 57],
  EventCode,
  AddressLo,
  AddressHi,
});

/** Type of a hardware error: nothing answered at the address. */
export const ERROR_MASTER_ABORT = 0b01;
/** Type of a hardware error: what answered refused. */
export const ERROR_TARGET_ABORT = 0b10;
/** Type of a hardware error: the data were damaged. */
export const ERROR_DATA = 0b11;

/** Type of INVALID_DEVICE_REQUEST: a read or a write that is no interrupt request in the interrupt address range. */
export const REQUEST_NO_INTERRUPT = 0b000;
/** Type of INVALID_DEVICE_REQUEST: an interrupt of a device with IntCtl 00. */
export const REQUEST_INTERRUPT_BLOCKED = 0b101;

/**
 * An event by what all entries have in common. `flags` is the upper half of word 1 without RW, bits 63:48 of the entry:
 * event code, type, and the indicators of the event.
 */
export interface EventEntry {
  readonly flags: number;
  /** RW: the request was a write. Only events of memory requests have it. */
  readonly isWrite?: boolean;
  readonly DeviceID?: number;
  readonly DomainID?: number;
  /** Byte address, 64 bits. */
  readonly address: bigint;
}

/** RW in bits 63:48 of an entry. */
const RW = 0x20;

/** The words of `event`. */
export function encodeEvent(event: EventEntry): readonly number[] {
  const { DomainID, AddressLo: lo, AddressHi: hi } = IO_PAGE_FAULT_EVENT.fields;
  const words = [event.DeviceID ?? 0, 0, 0, 0];
  words[1] = ((event.flags | (event.isWrite === true ? RW : 0)) << 16) >>> 0;
  writeField(words, DomainID, event.DomainID ?? 0);
  writeField(words, lo, Number(event.address & 0xffffffffn));
  writeField(words, hi, Number(event.address >> 32n));
  return words;
}

/** The event code in bits 63:48 of an entry. */
export function eventCodeOf(flags: number): number {
  return flags >>> 12;
}
