/**
 * Every 32-bit word of the MMIO registers: its value after reset, and what a write by software does to it (AMD-Vi 3.4).
 * Words that are not listed, those of page requests, guest virtual APICs, hardware errors and performance counters among
 * them, read as zero and ignore writes.
 *
 * @module
 */

import type { RegisterWord } from '../../register-file.ts';
import { type Capability, encodeExtendedFeatures } from './capability.ts';
import * as reg from './registers.ts';

interface Access {
  readonly reset?: number;
  readonly writable?: number;
  readonly writeOneToClear?: number;
}

const ALL: Access = { writable: 0xffffffff };

/** The defined words for an IOMMU with `capability`, ascending. */
export function registerWords(capability: Capability): readonly RegisterWord[] {
  const list: RegisterWord[] = [];
  const add = (name: string, offset: number, low: Access, high: Access = {}): void => {
    [low, high].forEach((access, word) => {
      const { reset = 0, writable = 0, writeOneToClear = 0 } = access;
      list.push({ offset: offset + word * 4, name, word, reset, writable, writeOneToClear, writeOnly: 0 });
    });
  };
  const page: Access = { writable: reg.BASE_PAGE };
  const pageHigh: Access = { writable: reg.BASE_PAGE_HI };
  const ringHigh: Access = { writable: (reg.BASE_PAGE_HI | reg.RING_LENGTH_HI) >>> 0 };
  const [features, featuresHigh] = encodeExtendedFeatures(capability);
  const exclusion = (reg.BASE_PAGE | reg.EXCLUSION_ExEn | reg.EXCLUSION_Allow) >>> 0;

  add(
    'Device Table Base',
    reg.DEVICE_TABLE_BASE,
    { writable: (reg.BASE_PAGE | reg.DEVICE_TABLE_SIZE) >>> 0 },
    pageHigh,
  );
  const ringReset = { ...ringHigh, reset: reg.RING_LENGTH_MINIMUM << reg.RING_LENGTH_SHIFT_HI };
  add('Command Buffer Base', reg.COMMAND_BUFFER_BASE, page, ringReset);
  add('Event Log Base', reg.EVENT_LOG_BASE, page, ringReset);
  add('Control', reg.CONTROL, ALL, ALL);
  add('Exclusion Base', reg.EXCLUSION_BASE, { writable: exclusion }, pageHigh);
  add('Exclusion Range Limit', reg.EXCLUSION_LIMIT, page, pageHigh);
  add('Extended Feature', reg.EXTENDED_FEATURE, { reset: features }, { reset: featuresHigh });
  add('Command Buffer Head Pointer', reg.COMMAND_BUFFER_HEAD, { writable: reg.RING_OFFSET });
  add('Command Buffer Tail Pointer', reg.COMMAND_BUFFER_TAIL, { writable: reg.RING_OFFSET });
  add('Event Log Head Pointer', reg.EVENT_LOG_HEAD, { writable: reg.RING_OFFSET });
  add('Event Log Tail Pointer', reg.EVENT_LOG_TAIL, { writable: reg.RING_OFFSET });
  add('Status', reg.STATUS, {
    writeOneToClear: reg.STATUS_EventOverflow | reg.STATUS_EventLogInt | reg.STATUS_ComWaitInt,
  });
  return list;
}
