import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as spec from '../../../src/models/vtd/spec/index.ts';

/** The words of a captured register dump. */
function registersOf(capture: string): Uint32Array {
  const file = new URL(`../../../captures/${capture}/capture.json`, import.meta.url);
  const { hex } = JSON.parse(readFileSync(file, 'utf8')).iommu.registers as { hex: string };
  const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
  return new Uint32Array(bytes.buffer, 0, bytes.length >>> 2);
}

function capabilityOf(registers: Uint32Array): spec.Capability {
  const at = (offset: number): number => registers[offset >>> 2];
  return spec.decodeCapability(
    at(spec.VER_REG),
    { lo: at(spec.CAP_REG), hi: at(spec.CAP_REG + 4) },
    { lo: at(spec.ECAP_REG), hi: at(spec.ECAP_REG + 4) },
  );
}

const CAPTURES = [
  {
    name: 'vtd-legacy-e1000',
    has: { CM: true, SAGAW: 0b110, MGAW: 48, SMTS: false, SSTS: false, FSTS: false, FS1GP: false },
    ttm: spec.TTM_LEGACY,
    rootPage: 0x247d,
  },
  {
    name: 'vtd-legacy-e1000-aw39',
    has: { CM: true, SAGAW: 0b010, MGAW: 39, SMTS: false, SSTS: false, FSTS: false, FS1GP: false },
    ttm: spec.TTM_LEGACY,
    rootPage: 0x244d,
  },
  {
    name: 'vtd-vfio-mix',
    has: { CM: true, SAGAW: 0b110, MGAW: 48, SMTS: false, SSTS: false, FSTS: false, FS1GP: false },
    ttm: spec.TTM_LEGACY,
    rootPage: 0x149571,
  },
  {
    name: 'vtd-sm-second-stage',
    has: { CM: true, SAGAW: 0b110, MGAW: 48, SMTS: true, SSTS: true, FSTS: false, FS1GP: false },
    ttm: spec.TTM_SCALABLE,
    rootPage: 0x149151,
  },
  {
    name: 'vtd-sm-first-stage',
    has: { CM: false, SAGAW: 0b110, MGAW: 48, SMTS: true, SSTS: false, FSTS: true, FS1GP: true },
    ttm: spec.TTM_SCALABLE,
    rootPage: 0x149151,
  },
] as const;

describe.each(CAPTURES)('registers captured from $name', ({ name, has, ttm, rootPage }) => {
  const registers = registersOf(name);
  const capability = capabilityOf(registers);

  it('report what the guest was started with', () => {
    expect(capability).toMatchObject(has);
  });

  it('report what every one of these guests has', () => {
    expect(capability).toMatchObject({
      version: 0x10,
      ND: 6,
      SSLPS: spec.SSLPS_2M | spec.SSLPS_1G,
      FRO: 0x22,
      NFR: 0,
      MAMV: 18,
      PSI: true,
      ZLR: false,
      DWD: true,
      DRD: true,
      ESRTPS: true,
      QI: true,
      IR: true,
      MHMV: 15,
      IRO: 0x0f,
      PT: true,
      DT: false,
      SC: false,
      NEST: false,
      RPS: false,
    });
  });

  it('survive decoding and encoding', () => {
    const { cap, ecap } = spec.encodeCapability(capability);
    expect([cap.lo, cap.hi, ecap.lo, ecap.hi]).toEqual(Array.from(registers.subarray(2, 6)));
  });

  it('show translation, interrupt remapping and queued invalidation on', () => {
    expect(registers[spec.GSTS_REG >>> 2]).toBe(
      (spec.GSTS_TES | spec.GSTS_RTPS | spec.GSTS_QIES | spec.GSTS_IRES | spec.GSTS_IRTPS) >>> 0,
    );
  });

  it('name the root table and its mode', () => {
    const lo = registers[spec.RTADDR_REG >>> 2];
    const hi = registers[(spec.RTADDR_REG >>> 2) + 1];
    expect((lo & spec.RTADDR_TTM) >>> spec.RTADDR_TTM_SHIFT).toBe(ttm);
    expect(spec.pageOf(lo, hi)).toBe(rootPage);
  });

  it('hold nothing that the register file forbids', () => {
    const stray: string[] = [];
    const known = new Map(spec.registerWords(capability, 48).map((word) => [word.offset, word]));
    registers.forEach((value, index) => {
      const word = known.get(index * 4);
      // Hardware sets status bits and read-only fields by itself, so only registers that software owns are judged.
      const status = word !== undefined && /^(GSTS|FSTS|ICS|IQH|IQERCD|FRCD)/.test(word.name);
      if (status) return;
      const allowed = word === undefined ? 0 : word.reset | word.writable;
      if ((value & ~allowed) !== 0) stray.push(`${(index * 4).toString(16)}: ${value.toString(16)}`);
    });
    expect(stray).toEqual([]);
  });
});

describe('the invalidation queue captured from Linux', () => {
  it('has 128-bit descriptors in legacy mode', () => {
    const registers = registersOf('vtd-legacy-e1000');
    expect(registers[spec.IQA_REG >>> 2] & (spec.IQA_DW | spec.IQA_QS)).toBe(0);
  });

  it('has 256-bit descriptors in two pages in scalable mode', () => {
    const registers = registersOf('vtd-sm-second-stage');
    expect(registers[spec.IQA_REG >>> 2] & (spec.IQA_DW | spec.IQA_QS)).toBe(spec.IQA_DW | 1);
  });
});

const LAYOUTS: readonly (readonly [string, spec.Layout<string>])[] = [
  ['CAP', spec.CAP],
  ['ECAP', spec.ECAP],
  ['FRCD', spec.FRCD],
  ['ROOT_ENTRY', spec.ROOT_ENTRY],
  ['SM_ROOT_ENTRY', spec.SM_ROOT_ENTRY],
  ['CONTEXT_ENTRY', spec.CONTEXT_ENTRY],
  ['SM_CONTEXT_ENTRY', spec.SM_CONTEXT_ENTRY],
  ['PASID_DIRECTORY_ENTRY', spec.PASID_DIRECTORY_ENTRY],
  ['PASID_TABLE_ENTRY', spec.PASID_TABLE_ENTRY],
  ['CC_INV_DSC', spec.CC_INV_DSC],
  ['PC_INV_DSC', spec.PC_INV_DSC],
  ['IOTLB_INV_DSC', spec.IOTLB_INV_DSC],
  ['P_IOTLB_INV_DSC', spec.P_IOTLB_INV_DSC],
  ['DEV_TLB_INV_DSC', spec.DEV_TLB_INV_DSC],
  ['P_DEV_TLB_INV_DSC', spec.P_DEV_TLB_INV_DSC],
  ['IEC_INV_DSC', spec.IEC_INV_DSC],
  ['INV_WAIT_DSC', spec.INV_WAIT_DSC],
];

describe.each(LAYOUTS)('layout %s', (_name, layout) => {
  it('gives every bit to exactly one field or reservation', () => {
    const owners = new Array<number>(layout.bits).fill(0);
    for (const field of Object.values(layout.fields)) {
      for (let bit = field.lsb; bit <= field.msb; bit++) owners[bit]++;
    }
    for (const masks of [layout.reserved, layout.ignored]) {
      for (let bit = 0; bit < layout.bits; bit++) owners[bit] += (masks[bit >>> 5] >>> (bit & 31)) & 1;
    }
    expect(owners).toEqual(new Array(layout.bits).fill(1));
  });

  it('reads back what was written to each field, and nothing else changes', () => {
    for (const field of Object.values(layout.fields)) {
      const words = new Array<number>(layout.bits / 32).fill(0);
      const value = 2 ** (field.msb - field.lsb + 1) - 1;
      spec.writeField(words, field, value);
      expect(spec.readField(words, field)).toBe(value);
      const ones = words.reduce((sum, word) => sum + word.toString(2).replaceAll('0', '').length, 0);
      expect(ones).toBe(field.msb - field.lsb + 1);
    }
  });
});

describe('fields', () => {
  it('hold any value of their width at any place', () => {
    fc.assert(
      fc.property(
        fc.nat(60),
        fc.integer({ min: 1, max: 52 }),
        fc.bigInt(0n, 2n ** 128n - 1n),
        (lsb, width, old) => {
          const { fields } = spec.layout(128, { F: [lsb + width - 1, lsb] });
          const words = [0, 1, 2, 3].map((word) => Number((old >> BigInt(32 * word)) & 0xffffffffn));
          const value = Number((old * 7n) & ((1n << BigInt(width)) - 1n));
          const mask = ((1n << BigInt(width)) - 1n) << BigInt(lsb);

          spec.writeField(words, fields.F, value);

          const now = words.reduce((sum, word, index) => sum | (BigInt(word) << BigInt(32 * index)), 0n);
          expect(now).toBe((old & ~mask) | (BigInt(value) << BigInt(lsb)));
          expect(spec.readField(words, fields.F)).toBe(value);
        },
      ),
    );
  });
});

describe('register words', () => {
  const full: spec.Capability = {
    ...spec.BASE_CAPABILITY,
    PLMR: true,
    PHMR: true,
    IR: true,
    EIM: true,
    NFR: 7,
  };
  const words = spec.registerWords(full, 48);
  const word = (name: string, index = 0): spec.RegisterWord | undefined =>
    words.find((entry) => entry.name === name && entry.word === index);

  it('are aligned, ascending and do not overlap', () => {
    const offsets = words.map((entry) => entry.offset);
    expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
    expect(offsets.filter((offset) => offset % 4 !== 0 || offset >= spec.REGISTER_SET_BYTES)).toEqual([]);
  });

  it('never write and clear the same bit', () => {
    expect(words.filter((entry) => (entry.writable & entry.writeOneToClear) !== 0)).toEqual([]);
  });

  it('have one Fault Recording register more than NFR', () => {
    const last = words.filter((entry) => entry.name === 'FRCD_REG' && entry.word === 3);
    expect(last.map((entry) => entry.offset)).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((n) => 0x22c + n * 16));
    expect(last.every((entry) => entry.writeOneToClear === 0x80000000)).toBe(true);
  });

  it('mask both events at reset', () => {
    expect(word('FECTL_REG')).toMatchObject({ reset: 0x80000000, writable: 0x80000000 });
    expect(word('IECTL_REG')).toMatchObject({ reset: 0x80000000, writable: 0x80000000 });
  });

  it('let software write exactly what the specification lets it write', () => {
    const masks = Object.fromEntries(
      words
        .filter((entry) => entry.writable !== 0)
        .map((entry) => [`${entry.name}.${entry.word}`, entry.writable]),
    );
    expect(masks).toEqual({
      'GCMD_REG.0': 0xff800000,
      'RTADDR_REG.0': 0xfffffc00,
      'RTADDR_REG.1': 0x0000ffff,
      'CCMD_REG.0': 0xffffffff,
      'CCMD_REG.1': 0xe0000003,
      'FECTL_REG.0': 0x80000000,
      'FEDATA_REG.0': 0x0000ffff,
      'FEADDR_REG.0': 0xfffffffc,
      'FEUADDR_REG.0': 0xffffffff,
      'PMEN_REG.0': 0x80000000,
      'PLMBASE_REG.0': 0xffe00000,
      'PLMLIMIT_REG.0': 0xffe00000,
      'PHMBASE_REG.0': 0xffe00000,
      'PHMBASE_REG.1': 0x0000ffff,
      'PHMLIMIT_REG.0': 0xffe00000,
      'PHMLIMIT_REG.1': 0x0000ffff,
      'IQT_REG.0': 0x0007fff0,
      'IQA_REG.0': 0xfffff807,
      'IQA_REG.1': 0x0000ffff,
      'IECTL_REG.0': 0x80000000,
      'IEDATA_REG.0': 0x0000ffff,
      'IEADDR_REG.0': 0xfffffffc,
      'IEUADDR_REG.0': 0xffffffff,
      'IRTA_REG.0': 0xfffff80f,
      'IRTA_REG.1': 0x0000ffff,
      'IVA_REG.0': 0xfffff07f,
      'IVA_REG.1': 0xffffffff,
      'IOTLB_REG.1': 0xb003ffff,
    });
  });

  it('clear exactly the status bits of FSTS_REG and ICS_REG', () => {
    expect(word('FSTS_REG')?.writeOneToClear).toBe(0x71);
    expect(word('ICS_REG')?.writeOneToClear).toBe(0x01);
  });

  it('keep protected memory read-only where neither region exists', () => {
    const plain = spec.registerWords(spec.BASE_CAPABILITY, 48);
    const regions = plain.filter((entry) => /^(PMEN|PLM|PHM)/.test(entry.name));
    expect(regions).toHaveLength(7);
    expect(regions.every((entry) => entry.writable === 0)).toBe(true);
  });

  it('divide the commands into one-shot ones and states', () => {
    expect(spec.GCMD_ONE_SHOT & spec.GCMD_STATE).toBe(0);
    // Software keeps the states it finds in GSTS_REG with this mask before it changes one of them.
    expect(~spec.GCMD_ONE_SHOT >>> 0).toBe(0x96ffffff);
  });
});

describe('fault reasons', () => {
  it('have distinct codes and conditions', () => {
    expect(new Set(spec.FAULT_REASONS.map((reason) => reason.code)).size).toBe(spec.FAULT_REASONS.length);
    expect(new Set(spec.FAULT_REASONS.map((reason) => reason.condition)).size).toBe(
      spec.FAULT_REASONS.length,
    );
  });

  it('are unqualified exactly where FPD cannot be known or trusted', () => {
    const unqualified = spec.FAULT_REASONS.filter((reason) => !reason.qualified);
    expect(unqualified.map((reason) => reason.condition)).toEqual([
      'LRT.1',
      'LRT.2',
      'LRT.3',
      'LCT.1',
      'RTA.1',
      'RTA.2',
      'RTA.3',
      'RTA.4',
      'SRT.1',
      'SRT.2',
      'SRT.3',
      'SCT.1',
      'SPD.1',
      'SPT.1',
    ]);
  });

  it('are found by code', () => {
    expect(spec.faultReason(spec.SGN_8)).toMatchObject({ condition: 'SGN.8', code: 0x87 });
    expect(spec.faultReason(0x1f)).toBeUndefined();
    expect(spec.isQualified(0x1f)).toBe(false);
  });
});

describe('fault records', () => {
  it('place every field where the specification does', () => {
    const words = spec.encodeFaultRecord({
      page: 0xfedcba9876543,
      SID: 0x0208,
      FR: 0x87,
      type: spec.REQUEST_READ,
      AT: spec.AT_TRANSLATED,
      PASID: 0xabcde,
      PRIV: true,
      EXE: false,
    });
    expect(words).toEqual([0x76543000, 0xfedcba98, 0xa0000208, 0xeabcde87]);
  });

  it('carry no PASID for a request that carried none', () => {
    const record = {
      page: 0x1000,
      SID: 0xff,
      FR: 5,
      type: spec.REQUEST_WRITE,
      AT: 0,
      PRIV: false,
      EXE: false,
    };
    const words = spec.encodeFaultRecord(record);
    expect(words).toEqual([0x01000000, 0, 0xff, 0x80000005]);
    expect(spec.decodeFaultRecord(words)).toEqual({ ...record, PASID: undefined });
  });

  it('are absent while F is clear', () => {
    expect(spec.decodeFaultRecord([0x01000000, 0, 0xff, 0x00000005])).toBeUndefined();
  });
});

describe('reserved bits', () => {
  it('of legacy entries are those above the host address width and the fixed ones', () => {
    expect(spec.rootEntryReserved(48)).toEqual([0xffe, 0xffff0000, 0xffffffff, 0xffffffff]);
    expect(spec.contextEntryReserved(39)).toEqual([0xff0, 0xffffff80, 0xff000080, 0xffffffff]);
  });

  it('of scalable-mode entries follow the capabilities', () => {
    const none = spec.BASE_CAPABILITY;
    const all = { ...none, DT: true, PASID: true, PRS: true, RPS: true, RPRIVS: true };
    expect(spec.smContextEntryReserved(none, 48).slice(0, 4)).toEqual([
      0x1fc, 0xffff0000, 0xffffffff, 0xffffffff,
    ]);
    expect(spec.smContextEntryReserved(all, 48).slice(0, 4)).toEqual([
      0x1e0, 0xffff0000, 0xffe00000, 0xffffffff,
    ]);
  });

  it('of PASID-table entries follow the capabilities', () => {
    const second = { ...spec.BASE_CAPABILITY, SMTS: true, SSTS: true };
    const first = { ...spec.BASE_CAPABILITY, SMTS: true, FSTS: true };
    expect(spec.pasidTableEntryReserved(second, 48).slice(0, 6)).toEqual([
      0xe20, 0xffff0000, 0xffff0000, 0xffffffff, 0xffffff9f, 0xffffffff,
    ]);
    expect(spec.pasidTableEntryReserved(first, 48).slice(0, 6)).toEqual([
      0xfffffe20, 0xffffffff, 0xffff0000, 0xffffffff, 0xf83, 0xffff0000,
    ]);
  });

  it('leave the address of nested first-stage tables to the second stage', () => {
    const nested = { ...spec.BASE_CAPABILITY, SMTS: true, SSTS: true, FSTS: true, NEST: true };
    expect(spec.pasidTableEntryReserved(nested, 48, true)[5]).toBe(0);
  });

  it('of second-stage entries depend on level, leaf and page sizes', () => {
    const rules = spec.secondStageReserved({ haw: 48, SSLPS: spec.SSLPS_2M, SC: false });
    expect(rules.tableLo.slice(2)).toEqual([0x880, 0x880, 0x880, 0x880]);
    expect(rules.tableHi.slice(1)).toEqual([0x400f0000, 0x400f0000, 0x400f0000, 0x400f0000, 0x400f0000]);
    expect(rules.leafLo.slice(1)).toEqual([0x800, 0x1ff800, 0xffffffff, 0xffffffff, 0xffffffff]);
  });

  it('of second-stage leaves allow SNP with snoop control and 1 GiB pages where offered', () => {
    const rules = spec.secondStageReserved({ haw: 52, SSLPS: spec.SSLPS_2M | spec.SSLPS_1G, SC: true });
    expect(rules.leafLo.slice(1, 4)).toEqual([0, 0x1ff000, 0x3ffff000]);
    expect(rules.leafHi[1]).toBe(0x40000000);
  });

  it('of first-stage entries depend on level, leaf and page sizes', () => {
    const plain = spec.firstStageReserved({ haw: 48, FS1GP: false });
    const giant = spec.firstStageReserved({ haw: 48, FS1GP: true });
    expect(plain.leafLo.slice(1)).toEqual([0, 0x1fe000, 0xffffffff, 0xffffffff, 0xffffffff]);
    expect(giant.leafLo[3]).toBe(0x3fffe000);
    expect(giant.leafHi[3]).toBe(0x000f0000);
  });
});

describe('address widths', () => {
  it('give the levels that SAGAW offers', () => {
    const all = spec.SAGAW_39 | spec.SAGAW_48 | spec.SAGAW_57;
    expect([0, 1, 2, 3, 4, 7].map((aw) => spec.levelsOf(aw, all))).toEqual([0, 3, 4, 5, 0, 0]);
    expect([1, 2, 3].map((aw) => spec.levelsOf(aw, spec.SAGAW_48))).toEqual([0, 4, 0]);
    expect([3, 4, 5].map(spec.adjustedWidth)).toEqual([39, 48, 57]);
    expect(spec.largestAddressWidth(spec.SAGAW_39 | spec.SAGAW_48)).toBe(2);
  });
});

describe('descriptors', () => {
  const legacy = { ...spec.BASE_CAPABILITY, IR: true, MHMV: 15 };
  const scalable = { ...legacy, SMTS: true, SSTS: true };
  const check = (words: number[], ttm = spec.TTM_LEGACY, capability: spec.Capability = legacy): number =>
    spec.checkDescriptor(words, 0, words.length === 8, ttm, capability);

  it('join both parts of the type', () => {
    expect(spec.descriptorType(0xe0f)).toBe(0x7f);
    expect(spec.descriptorType(0x1f0)).toBe(0);
  });

  it('accept what Linux submits in legacy mode', () => {
    expect(check([0x11, 0, 0, 0])).toBe(spec.IQEI_NONE);
    expect(check([0x000100f2, 0, 0xfffff041, 0])).toBe(spec.IQEI_NONE);
    expect(check([0x25, 2, 0x1000, 0])).toBe(spec.IQEI_NONE);
  });

  it('reject types that the mode or the unit does not have', () => {
    expect(check([0, 0, 0, 0])).toBe(spec.IQEI_TYPE);
    expect(check([0x205, 0, 0, 0])).toBe(spec.IQEI_TYPE);
    expect(check([3, 0, 0, 0])).toBe(spec.IQEI_TYPE);
    expect(check([0x26, 0, 0, 0])).toBe(spec.IQEI_TYPE);
    expect(check([4, 0, 0, 0], spec.TTM_LEGACY, spec.BASE_CAPABILITY)).toBe(spec.IQEI_TYPE);
  });

  it('reject reserved bits in either half', () => {
    expect(check([0x111, 0, 0, 0])).toBe(spec.IQEI_RESERVED);
    expect(check([0x25, 0, 1, 0])).toBe(spec.IQEI_RESERVED);
    expect(check([0x26, 0, 0, 0, 0, 0, 0, 1], spec.TTM_SCALABLE, scalable)).toBe(spec.IQEI_RESERVED);
    expect(check([0x26, 0, 0, 0, 0, 0, 0, 0], spec.TTM_SCALABLE, scalable)).toBe(spec.IQEI_NONE);
  });

  it('reject reserved granularities and values beyond the capabilities', () => {
    expect(check([0x01, 0, 0, 0])).toBe(spec.IQEI_RESERVED);
    expect(check([0x02, 0, 0, 0])).toBe(spec.IQEI_RESERVED);
    expect(check([0x32, 0, 19, 0])).toBe(spec.IQEI_RESERVED);
    expect(check([0x32, 0, 18, 0])).toBe(spec.IQEI_NONE);
    expect(check([0x32, 0, 0, 0], spec.TTM_LEGACY, { ...legacy, PSI: false })).toBe(spec.IQEI_RESERVED);
    expect(check([0x85, 0, 0, 0])).toBe(spec.IQEI_RESERVED);
    expect(check([0x27, 0, 0, 0, 0, 0, 0, 0], spec.TTM_SCALABLE, scalable)).toBe(spec.IQEI_RESERVED);
    expect(check([0x16, 0, 0, 0, 0, 0, 0, 0], spec.TTM_SCALABLE, scalable)).toBe(spec.IQEI_RESERVED);
  });

  it('fit the unit and the mode in width', () => {
    expect(spec.checkWidth(false, spec.TTM_LEGACY, legacy)).toBe(spec.IQEI_NONE);
    expect(spec.checkWidth(true, spec.TTM_LEGACY, legacy)).toBe(spec.IQEI_WIDTH);
    expect(spec.checkWidth(true, spec.TTM_LEGACY, scalable)).toBe(spec.IQEI_NONE);
    expect(spec.checkWidth(false, spec.TTM_SCALABLE, scalable)).toBe(spec.IQEI_WIDTH);
    expect(spec.checkWidth(true, spec.TTM_SCALABLE, scalable)).toBe(spec.IQEI_NONE);
    expect(spec.checkWidth(true, spec.TTM_SCALABLE, legacy)).toBe(spec.IQEI_TTM);
    expect(spec.checkWidth(true, spec.TTM_RESERVED, scalable)).toBe(spec.IQEI_TTM);
  });

  it('say where a wait writes its status', () => {
    const { STADDR_PAGE, STADDR_WORD, STDATA } = spec.INV_WAIT_DSC.fields;
    const words = [0x25, 0xcafe0001, 0x76543ffc, 0xfedcba98];
    expect(spec.readField(words, STDATA)).toBe(0xcafe0001);
    expect(spec.readField(words, STADDR_PAGE)).toBe(0xfedcba9876543);
    expect(spec.readField(words, STADDR_WORD)).toBe(1023);
  });

  it('name the source identifiers and pages they cover', () => {
    expect([0, 1, 2, 3].map(spec.sourceMask)).toEqual([0xffff, 0xfffb, 0xfff9, 0xfff8]);
    expect(spec.firstPage(0xfffffffffffff, 9)).toBe(0xffffffffffe00);
    expect(spec.deviceTlbPages(0x1234, false)).toEqual({ start: 0x1234, pages: 1 });
    expect(spec.deviceTlbPages(0x1233, true)).toEqual({ start: 0x1230, pages: 8 });
    expect(spec.deviceTlbPages(2 ** 52 - 1, true)).toEqual({ start: 0, pages: 2 ** 52 });
  });
});
