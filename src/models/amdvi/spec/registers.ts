/**
 * MMIO registers (AMD-Vi 3.4), all of 64 bits in a space of 16 KiB: offsets and bits. Masks are of the low word unless
 * their names end in `_HI`.
 *
 * @module
 */

import { bit, mask, maskInWord } from '../../layout.ts';

/** Bytes of the MMIO space without performance counters. */
export const MMIO_BYTES = 0x4000;

export const DEVICE_TABLE_BASE = 0x0000;
export const COMMAND_BUFFER_BASE = 0x0008;
export const EVENT_LOG_BASE = 0x0010;
export const CONTROL = 0x0018;
export const EXCLUSION_BASE = 0x0020;
export const EXCLUSION_LIMIT = 0x0028;
export const EXTENDED_FEATURE = 0x0030;
export const COMMAND_BUFFER_HEAD = 0x2000;
export const COMMAND_BUFFER_TAIL = 0x2008;
export const EVENT_LOG_HEAD = 0x2010;
export const EVENT_LOG_TAIL = 0x2018;
export const STATUS = 0x2020;

/** Bits 51:12 of a base address: word 0 and word 1. */
export const BASE_PAGE: number = mask(31, 12);
export const BASE_PAGE_HI: number = maskInWord([51, 32], 1);

/** Device Table Base: Size, pages of the table, less one. */
export const DEVICE_TABLE_SIZE: number = mask(8, 0);

/** Command Buffer Base and Event Log Base: ComLen and EventLen, log2 of the entries, and the shift. 0 to 7 are reserved. */
export const RING_LENGTH_HI: number = maskInWord([59, 56], 1);
export const RING_LENGTH_SHIFT_HI = 24;
export const RING_LENGTH_MINIMUM = 8;
/** Heads and tails: byte offsets into the ring. */
export const RING_OFFSET: number = mask(18, 4);

export const CONTROL_IommuEn: number = bit(0);
export const CONTROL_HTTunEn: number = bit(1);
export const CONTROL_EventLogEn: number = bit(2);
export const CONTROL_EventIntEn: number = bit(3);
export const CONTROL_ComWaitIntEn: number = bit(4);
export const CONTROL_InvTimeOut: number = mask(7, 5);
export const CONTROL_PassPW: number = bit(8);
export const CONTROL_ResPassPW: number = bit(9);
export const CONTROL_Coherent: number = bit(10);
export const CONTROL_Isoc: number = bit(11);
export const CONTROL_CmdBufEn: number = bit(12);
export const CONTROL_PPRLogEn: number = bit(13);
export const CONTROL_PprIntEn: number = bit(14);
export const CONTROL_PPREn: number = bit(15);
export const CONTROL_GTEn: number = bit(16);
export const CONTROL_GAEn: number = bit(17);

/** Exclusion Base: ExEn, the range is excluded for devices whose entry has EX, and Allow, for all devices. */
export const EXCLUSION_ExEn: number = bit(0);
export const EXCLUSION_Allow: number = bit(1);

/** Status: EventOverflow, EventLogInt and ComWaitInt are cleared by writing one; the others are read-only. */
export const STATUS_EventOverflow: number = bit(0);
export const STATUS_EventLogInt: number = bit(1);
export const STATUS_ComWaitInt: number = bit(2);
export const STATUS_EventLogRun: number = bit(3);
export const STATUS_CmdBufRun: number = bit(4);
