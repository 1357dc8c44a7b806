/**
 * Every 32-bit word of the register set: its value after reset, and what a write by software does to it (VT-d 11.4).
 * Words that are not listed are reserved: they read as zero and ignore writes.
 *
 * @module
 */

import type { RegisterWord } from '../../register-file.ts';
import type { Capability } from './capability.ts';
import { encodeCapability } from './capability-registers.ts';
import { aboveHaw, bit, mask } from '../../layout.ts';
import * as reg from './registers.ts';

interface Access {
  readonly reset?: number;
  readonly writable?: number;
  readonly writeOneToClear?: number;
  readonly writeOnly?: number;
}

const ALL = 0xffffffff;
const PAGE_ADDRESS = 0xfffff000;
const MESSAGE_DATA: Access = { writable: 0xffff };
const MESSAGE_ADDRESS: Access = { writable: 0xfffffffc };
const EVENT_CONTROL: Access = { reset: reg.EVENT_IM, writable: reg.EVENT_IM };

/**
 * Every defined word for a unit with these capabilities, in ascending order of offset. Page request, advanced fault
 * logging, MTRR, performance and virtual command registers are not defined.
 *
 * @param haw host address width in bits, 32 to 64: address bits above it cannot be written
 */
export function registerWords(capability: Capability, haw: number): readonly RegisterWord[] {
  const list: RegisterWord[] = [];
  const add = (name: string, offset: number, ...words: Access[]): void => {
    words.forEach((access, word) => {
      list.push({
        offset: offset + word * 4,
        name,
        word,
        reset: access.reset ?? 0,
        writable: access.writable ?? 0,
        writeOneToClear: access.writeOneToClear ?? 0,
        writeOnly: access.writeOnly ?? 0,
      });
    });
  };
  const { cap, ecap } = encodeCapability(capability);
  const high: Access = { writable: ~aboveHaw(haw) >>> 0 };
  const iotlb = capability.IRO * 16;
  // PMEN_REG and the region registers are read-only zero where neither region exists (VT-d 11.4.8.1).
  const pmr = mask(31, reg.PMR_ALIGN_SHIFT);
  const low: Access = { writable: capability.PLMR ? pmr : 0 };
  const highBase: Access = { writable: capability.PHMR ? pmr : 0 };
  const highTop: Access = capability.PHMR ? high : {};

  add('VER_REG', reg.VER_REG, { reset: capability.version });
  add('CAP_REG', reg.CAP_REG, { reset: cap.lo }, { reset: cap.hi });
  add('ECAP_REG', reg.ECAP_REG, { reset: ecap.lo }, { reset: ecap.hi });
  const commands = (reg.GCMD_ONE_SHOT | reg.GCMD_STATE) >>> 0;
  add('GCMD_REG', reg.GCMD_REG, { writable: commands, writeOnly: commands });
  add('GSTS_REG', reg.GSTS_REG, {});
  add('RTADDR_REG', reg.RTADDR_REG, { writable: (PAGE_ADDRESS | reg.RTADDR_TTM) >>> 0 }, high);
  add(
    'CCMD_REG',
    reg.CCMD_REG,
    { writable: ALL, writeOnly: reg.CCMD_SID },
    {
      writable: (reg.CCMD_ICC_HI | reg.CCMD_CIRG_HI | reg.CCMD_FM_HI) >>> 0,
      writeOnly: reg.CCMD_FM_HI,
    },
  );
  add('FSTS_REG', reg.FSTS_REG, {
    writeOneToClear: reg.FSTS_PFO | reg.FSTS_IQE | reg.FSTS_ICE | reg.FSTS_ITE,
  });
  add('FECTL_REG', reg.FECTL_REG, EVENT_CONTROL);
  add('FEDATA_REG', reg.FEDATA_REG, MESSAGE_DATA);
  add('FEADDR_REG', reg.FEADDR_REG, MESSAGE_ADDRESS);
  add('FEUADDR_REG', reg.FEUADDR_REG, { writable: ALL });
  add('PMEN_REG', reg.PMEN_REG, { writable: capability.PLMR || capability.PHMR ? reg.PMEN_EPM : 0 });
  add('PLMBASE_REG', reg.PLMBASE_REG, low);
  add('PLMLIMIT_REG', reg.PLMLIMIT_REG, low);
  add('PHMBASE_REG', reg.PHMBASE_REG, highBase, highTop);
  add('PHMLIMIT_REG', reg.PHMLIMIT_REG, highBase, highTop);
  add('IQH_REG', reg.IQH_REG, {}, {});
  add('IQT_REG', reg.IQT_REG, { writable: capability.QI ? reg.IQ_OFFSET : 0 }, {});
  const queue = (PAGE_ADDRESS | reg.IQA_DW | reg.IQA_QS) >>> 0;
  add('IQA_REG', reg.IQA_REG, { writable: capability.QI ? queue : 0 }, capability.QI ? high : {});
  add('ICS_REG', reg.ICS_REG, { writeOneToClear: reg.ICS_IWC });
  add('IECTL_REG', reg.IECTL_REG, EVENT_CONTROL);
  add('IEDATA_REG', reg.IEDATA_REG, MESSAGE_DATA);
  add('IEADDR_REG', reg.IEADDR_REG, MESSAGE_ADDRESS);
  add('IEUADDR_REG', reg.IEUADDR_REG, { writable: ALL });
  add('IQERCD_REG', reg.IQERCD_REG, {}, {});
  const table = (PAGE_ADDRESS | reg.IRTA_S | (capability.EIM ? reg.IRTA_EIME : 0)) >>> 0;
  add('IRTA_REG', reg.IRTA_REG, { writable: capability.IR ? table : 0 }, capability.IR ? high : {});
  const address = (PAGE_ADDRESS | reg.IVA_IH | reg.IVA_AM) >>> 0;
  add(
    'IVA_REG',
    iotlb + reg.IVA_REG,
    { writable: address, writeOnly: address },
    { writable: ALL, writeOnly: ALL },
  );
  add(
    'IOTLB_REG',
    iotlb + reg.IOTLB_REG,
    {},
    {
      writable:
        (reg.IOTLB_IVT_HI | reg.IOTLB_IIRG_HI | reg.IOTLB_DR_HI | reg.IOTLB_DW_HI | reg.IOTLB_DID_HI) >>> 0,
    },
  );
  for (let record = 0; record <= capability.NFR; record++) {
    const offset = capability.FRO * 16 + record * reg.FRCD_BYTES;
    add('FRCD_REG', offset, {}, {}, {}, { writeOneToClear: bit(31) });
  }
  return list.sort((a, b) => a.offset - b.offset);
}
