import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as spec from '../../../src/models/amdvi/spec/index.ts';

describe('page sizes encoded in an address (AMD-Vi 2.2.3)', () => {
  it.each([
    { address: 0x0000_0000n, size: '8 KiB', pages: 2 },
    { address: 0x0000_1000n, size: '16 KiB', pages: 4 },
    { address: 0x0000_7000n, size: '64 KiB', pages: 16 },
    { address: 0x0007_f000n, size: '1 MiB', pages: 256 },
    { address: 0x001f_f000n, size: '4 MiB', pages: 1024 },
    { address: 0x7fff_f000n, size: '4 GiB', pages: 2 ** 20 },
    { address: 0xffff_f000n, size: '8 GiB', pages: 2 ** 21 },
    { address: 0x1_ffff_f000n, size: '16 GiB', pages: 2 ** 22 },
    { address: 0x7_ffff_ffff_f000n, size: '2^52 bytes', pages: 2 ** 40 },
    { address: 0xf_ffff_ffff_f000n, size: 'none', pages: undefined },
  ])('$address means $size', ({ address, pages }) => {
    expect(spec.encodedPages(Number(address & 0xffffffffn), Number(address >> 32n))).toBe(pages);
  });

  it('are what encodePages makes, whatever the target', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 39 }), fc.integer({ min: 0, max: 2 ** 40 - 1 }), (log, page) => {
        const pages = 2 ** log;
        const target = Math.floor(page / pages) * pages;
        const field = spec.encodePages(target, pages);
        const lo = ((field % 0x100000) * 4096) >>> 0;
        const hi = Math.floor(field / 0x100000);
        expect(spec.encodedPages(lo, hi)).toBe(pages);
      }),
    );
  });
});

describe('pages that an invalidation names (AMD-Vi 2.4.3)', () => {
  it.each([
    { page: 0x12345, s: false, start: 0x12345, pages: 1 },
    { page: 0x12344, s: true, start: 0x12344, pages: 2 },
    { page: 0x12341, s: true, start: 0x12340, pages: 4 },
    { page: 0x123ff, s: true, start: 0x12000, pages: 0x800 },
    { page: 0x7_ffff_ffff_ffff, s: true, start: 0, pages: 2 ** 52 },
    { page: 0xf_ffff_ffff_ffff, s: true, start: 0, pages: 2 ** 52 },
    { page: 0xf_ffff_ffff_ffff, s: false, start: 0xf_ffff_ffff_ffff, pages: 1 },
  ])('$page with S $s', ({ page, s, start, pages }) => {
    expect(spec.namedPages(page, s)).toEqual({ start, pages });
  });
});

describe('capabilities', () => {
  it('survive their registers', () => {
    const flags = Object.fromEntries(
      Object.entries(spec.BASE_CAPABILITY).map(([name, value]) => [
        name,
        typeof value === 'boolean' ? fc.boolean() : fc.integer({ min: 0, max: 3 }),
      ]),
    );
    fc.assert(
      fc.property(fc.record(flags), (drawn) => {
        const capability = drawn as unknown as spec.Capability;
        const header = spec.encodeCapabilityHeader(capability);
        expect(spec.decodeCapability(header, spec.encodeExtendedFeatures(capability))).toEqual(capability);
      }),
    );
  });

  it('have NpCache in bit 26 of the capability header, of capability 0Fh and type 3', () => {
    const base = { ...spec.BASE_CAPABILITY, IotlbSup: false };

    expect(spec.encodeCapabilityHeader(base)).toBe(0x0c0b_000f);
    expect(spec.encodeCapabilityHeader({ ...base, NpCache: false })).toBe(0x080b_000f);
  });

  it.each([
    [0, 4],
    [1, 5],
    [2, 6],
    [3, 0],
  ])('HATS %i allows %i levels', (hats, levels) => {
    expect(spec.hostLevels(hats)).toBe(levels);
  });
});

describe('events', () => {
  it('have code, indicators, device, domain and address where the figures have them', () => {
    const words = spec.encodeEvent({
      flags: 0x2050,
      isWrite: true,
      DeviceID: 0x0208,
      DomainID: 0x1234,
      address: 0x1_2345_6789_a000n,
    });

    expect(words).toEqual([0x0208, 0x2070_1234, 0x6789_a000, 0x1_2345]);
  });

  it.each([
    { name: 'NO_PERMISSION', fault: spec.NO_PERMISSION, code: 0x2050 },
    { name: 'PAGE_NOT_PRESENT', fault: spec.PAGE_NOT_PRESENT, code: 0x2000 },
    { name: 'PAGE_RESERVED_BIT', fault: spec.PAGE_RESERVED_BIT, code: 0x2090 },
    { name: 'LEVEL_INVALID', fault: spec.LEVEL_INVALID, code: 0x2010 },
    { name: 'ENTRY_RESERVED_BIT', fault: spec.ENTRY_RESERVED_BIT, code: 0x1080 },
    { name: 'ENTRY_UNREADABLE', fault: spec.ENTRY_UNREADABLE, code: 0x3200 },
    { name: 'TABLE_UNREADABLE', fault: spec.TABLE_UNREADABLE, code: 0x4200 },
    { name: 'INTERRUPT_BLOCKED', fault: spec.INTERRUPT_BLOCKED, code: 0x8a00 },
  ])('of $name have $code in bits 63:48', ({ fault, code }) => {
    expect(fault.code).toBe(code);
  });
});

describe('commands', () => {
  it.each([
    { command: 'COMPLETION_WAIT', words: [7, 0x1000_0000, 0xffffffff, 0xffffffff], legal: true },
    { command: 'COMPLETION_WAIT with a reserved bit', words: [0, 0x1010_0000, 0, 0], legal: false },
    { command: 'INVALIDATE_DEVTAB_ENTRY', words: [0xffff, 0x2000_0000, 0, 0], legal: true },
    { command: 'INVALIDATE_DEVTAB_ENTRY, reserved', words: [0x10000, 0x2000_0000, 0, 0], legal: false },
    { command: 'INVALIDATE_IOMMU_PAGES', words: [0, 0x3000_ffff, 0xfffff007, 0xffffffff], legal: true },
    { command: 'INVALIDATE_IOMMU_PAGES, reserved', words: [0, 0x3000_0000, 8, 0], legal: false },
    { command: 'INVALIDATE_IOTLB_PAGES', words: [0, 0x4000_0000, 1, 0], legal: true },
    { command: 'INVALIDATE_INTERRUPT_TABLE', words: [1, 0x5000_0000, 0, 0], legal: true },
    { command: 'PREFETCH_IOMMU_PAGES', words: [1, 0x6000_0000, 0, 0], legal: true },
    { command: 'COMPLETE_PPR_REQUEST without PPRSup', words: [1, 0x7000_0000, 0, 0], legal: false },
    { command: 'INVALIDATE_IOMMU_ALL', words: [0, 0x8000_0000, 0, 0], legal: true },
    { command: 'INVALIDATE_IOMMU_ALL, reserved', words: [1, 0x8000_0000, 0, 0], legal: false },
    { command: 'opcode 0', words: [0, 0, 0, 0], legal: false },
    { command: 'opcode 9', words: [0, 0x9000_0000, 0, 0], legal: false },
  ])('$command is legal: $legal', ({ words, legal }) => {
    expect(spec.isLegalCommand(words, 0, spec.BASE_CAPABILITY)).toBe(legal);
  });

  it.each([
    ['INVALIDATE_IOTLB_PAGES', 4, { IotlbSup: false }],
    ['PREFETCH_IOMMU_PAGES', 6, { PreFSup: false }],
    ['INVALIDATE_IOMMU_ALL', 8, { IASup: false }],
  ])('%s is illegal without its capability', (_name, opcode, lacks) => {
    const capability = { ...spec.BASE_CAPABILITY, ...lacks };

    expect(spec.isLegalCommand([0, (opcode << 28) >>> 0, 0, 0], 0, capability)).toBe(false);
  });
});

describe('reserved bits of a device table entry', () => {
  it('are those of the figure and of what is not offered', () => {
    expect(spec.deviceTableEntryReserved(spec.BASE_CAPABILITY)).toEqual([
      0x1fc, 0x80f0_0000, 0, 0x400, 0, 0x08f0_0000, 0xffffffff, 0x003f_ffff,
    ]);
  });

  it('leave PPR and GV to an IOMMU that has them', () => {
    const capability = { ...spec.BASE_CAPABILITY, PPRSup: true, GTSup: true };

    expect(spec.deviceTableEntryReserved(capability)[1]).toBe(0x8060_0000);
  });
});
