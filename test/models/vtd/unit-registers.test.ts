import { describe, expect, test } from 'vitest';
import { dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { VtdIommu, VtdSetupError } from '../../../src/models/vtd/index.ts';
import { BASE_CAPABILITY, encodeCapability } from '../../../src/models/vtd/spec/index.ts';
import {
  CCMD,
  FECTL,
  FSTS,
  GCMD,
  GSTS,
  IOTLB,
  IVA,
  PMEN,
  QIE,
  RAM_PAGES,
  ROOT,
  RTADDR,
  SCALABLE,
  SRTP,
  TE,
  UnitGuest,
} from './unit-guest.ts';
import { FollowingHost } from './unit-host.ts';

const DEVICE = 0x0208;
const OTHER = 0x0310;
const ICC = 0x8000_0000;
const IVT = 0x8000_0000;

/** Two followed requesters in domains 5 and 6, translation on, no queue. */
function running(capability = {}): {
  guest: UnitGuest;
  host: FollowingHost;
  other: FollowingHost;
  root: number;
} {
  const guest = new UnitGuest({ capability });
  const root = guest.stage([0x1000, 0x800], [0x1001, 0x801]);
  guest.context(DEVICE, { root, domain: 5 });
  guest.context(OTHER, { root: guest.stage([0x1000, 0x900]), domain: 6 });
  const host = new FollowingHost(guest.iommu, DEVICE);
  const other = new FollowingHost(guest.iommu, OTHER);
  guest.translate();
  host.takeLog();
  other.takeLog();
  return { guest, host, other, root };
}

const base = 0xfed9_0000n;

/** A unit whose registers lie in system memory. */
function placed(): UnitGuest {
  const guest = new UnitGuest();
  guest.guest.root.add(guest.iommu.registers, 0xfed90);
  return guest;
}

describe('access to the registers', () => {
  test.each([
    [4, 0x08n, true],
    [8, 0x08n, true],
    [4, 0x0cn, true],
    [8, 0x0cn, false],
    [2, 0x08n, false],
    [1, 0x08n, false],
    [4, 0x0an, false],
    [16, 0x00n, false],
  ])('%i bytes at offset %i: accepted %s', (bytes, offset, accepted) => {
    const guest = placed();
    const read = dmaRead(guest.guest.space, base + offset, new Uint8Array(bytes));
    const written = dmaWrite(guest.guest.space, base + offset, new Uint8Array(bytes));
    expect([read.failure === undefined, written.failure === undefined]).toEqual([accepted, accepted]);
  });

  test('the capability registers read as encoded, in halves and whole', () => {
    const guest = placed();
    const { cap } = encodeCapability(BASE_CAPABILITY);
    const data = new Uint8Array(8);
    dmaRead(guest.guest.space, base + 8n, data);
    expect(new DataView(data.buffer).getBigUint64(0, true)).toBe((BigInt(cap.hi) << 32n) | BigInt(cap.lo));
    expect([guest.read(8), guest.read(12)]).toEqual([cap.lo, cap.hi]);
  });

  test('reserved offsets read as zero and ignore writes', () => {
    const guest = new UnitGuest();
    guest.write(0xd00, 0xffff_ffff);
    expect(guest.read(0xd00)).toBe(0);
  });

  test('read-only registers ignore writes', () => {
    const guest = new UnitGuest();
    const before = [guest.read64(8), guest.read(GSTS), guest.read64(0x80)];
    for (const offset of [8, GSTS - 4, 0x80]) guest.write64(offset, 0xffff_ffff_ffff_ffffn & ~0xffff_ffffn);
    expect([guest.read64(8), guest.read(GSTS), guest.read64(0x80)]).toEqual(before);
  });

  test('direct access beyond the register set, or of another size, is a RangeError', () => {
    const { iommu } = new UnitGuest();
    expect(() => iommu.readRegister(0x1000, 4)).toThrow(RangeError);
    expect(() => iommu.readRegister(0x0c, 8)).toThrow(RangeError);
    expect(() => iommu.writeRegister(-4, 0n, 4)).toThrow(RangeError);
    expect(() => iommu.writeRegister(0, 0n, 2 as 4)).toThrow(RangeError);
  });

  test('capabilities that place two registers at one offset are refused', () => {
    const { guest } = new UnitGuest();
    const capability = { ...BASE_CAPABILITY, FRO: 2 };
    expect(() => new VtdIommu({ memory: guest.space, capability })).toThrow(VtdSetupError);
    expect(() => new VtdIommu({ memory: guest.space, capability })).toThrow(/RTADDR_REG and FRCD_REG.*0x20/);
  });

  test('so is a host address width that no unit has', () => {
    const { guest } = new UnitGuest();
    expect(() => new VtdIommu({ memory: guest.space, haw: 64 })).toThrow(VtdSetupError);
  });

  test('what is no requester ID is a RangeError', () => {
    const { iommu } = new UnitGuest();
    expect(() => iommu.addressSpace(0x1_0000)).toThrow(RangeError);
  });
});

describe('GCMD_REG', () => {
  test('translation on shows the tables, off shows system memory', () => {
    const { guest, host } = running();
    expect(host.mappings).toEqual(['1000>800', '1001>801']);
    expect(guest.read(GSTS)).toBe((TE | SRTP) >>> 0);
    guest.command(0, TE);
    expect(host.mappings).toEqual([]);
    expect(host.direct).toEqual([{ start: 0, end: RAM_PAGES }]);
    expect(guest.read(GSTS)).toBe(SRTP);
  });

  test('it reads as zero', () => {
    const { guest } = running();
    expect(guest.read(GCMD)).toBe(0);
  });

  test('RTADDR_REG counts only when SRTP latches it', () => {
    const { guest } = running();
    guest.write64(RTADDR, 0x77_0000n);
    expect(guest.iommu.rootTable).toBe(ROOT);
    guest.command(SRTP);
    expect(guest.iommu.rootTable).toBe(0x770);
  });

  test('a new root table is followed at once', () => {
    const { guest, host } = running();
    guest.poke(0x770, 4, (0x771n << 12n) | 1n);
    guest.write64(RTADDR, 0x77_0000n);
    guest.command(SRTP);
    expect(host.mappings).toEqual([]);
  });

  test('TTM is latched with the address', () => {
    const guest = new UnitGuest({ capability: SCALABLE });
    guest.write64(RTADDR, 0x1_0400n);
    expect(guest.iommu.translationTableMode).toBe(0);
    guest.command(SRTP);
    expect(guest.iommu.translationTableMode).toBe(1);
  });

  test('RTPS clears when SRTP is given and comes back when the host has confirmed', async () => {
    const { guest, host } = running();
    host.hold();
    guest.command(SRTP);
    expect(guest.read(GSTS)).toBe(TE);
    await host.confirm();
    expect(guest.read(GSTS)).toBe((TE | SRTP) >>> 0);
  });

  test('TES follows the confirmation of the host', async () => {
    const { guest, host } = running();
    host.hold();
    guest.command(0, TE);
    expect(guest.iommu.translationEnabled).toBe(false);
    expect(guest.read(GSTS)).toBe((TE | SRTP) >>> 0);
    await host.confirm();
    expect(guest.read(GSTS)).toBe(SRTP);
  });

  test('commands that do not wait for their status end in the state asked for last', async () => {
    const { guest, host } = running();
    host.hold();
    guest.write(GCMD, 0);
    guest.write(GCMD, TE);
    guest.write(GCMD, 0);
    guest.write(GCMD, TE | QIE);
    await host.confirm();
    expect(guest.read(GSTS)).toBe((TE | SRTP | QIE) >>> 0);
    expect(host.mappings).toEqual(['1000>800', '1001>801']);
  });

  test('a root table set while another command is pending is the one of that moment', async () => {
    const { guest, host } = running();
    host.hold();
    guest.write(GCMD, 0);
    guest.write64(RTADDR, 0x77_0000n);
    guest.write(GCMD, SRTP);
    guest.write64(RTADDR, 0x78_0000n);
    await host.confirm();
    expect(guest.iommu.rootTable).toBe(0x770);
  });

  test.each([
    ['IRE', 0x0200_0000],
    ['SIRTP', 0x0100_0000],
    ['CFI', 0x0080_0000],
  ])('%s is status only, and only on a unit that reports interrupt remapping', (_, bit) => {
    const without = new UnitGuest();
    const having = new UnitGuest({ capability: { IR: true } });
    without.command(bit);
    having.command(bit);
    expect([without.read(GSTS), having.read(GSTS)]).toEqual([0, bit]);
  });

  test('write-buffer flushing is done at once', () => {
    const guest = new UnitGuest({ capability: { RWBF: true } });
    guest.command(0x0800_0000);
    expect(guest.read(GSTS)).toBe(0);
  });

  test('advanced fault logging is not offered', () => {
    const guest = new UnitGuest();
    guest.command(0x3000_0000);
    expect(guest.read(GSTS)).toBe(0);
  });

  test('reset brings everybody back to system memory', async () => {
    const { guest, host } = running();
    guest.queue();
    guest.iommu.reset();
    expect(host.mappings).toEqual([]);
    expect(host.direct).toHaveLength(1);
    expect([guest.read(GSTS), guest.read64(RTADDR), guest.read64(0x90), guest.read(FECTL)]).toEqual([
      0,
      0n,
      0n,
      0x8000_0000,
    ]);
    await guest.iommu.settled();
  });

  test('a reset while a host is pending ends what was under way', async () => {
    const { guest, host } = running();
    host.hold();
    guest.command(SRTP);
    guest.iommu.reset();
    await host.confirm();
    expect(guest.read(GSTS)).toBe(0);
    expect(guest.iommu.rootTable).toBe(0);
  });
});

describe('CCMD_REG', () => {
  test.each([
    ['global', 1n, 5n],
    ['by domain', 2n, 5n],
    ['by device', 3n, 5n | (BigInt(DEVICE) << 16n)],
  ])('%s invalidation is done and answered', (_, g, low) => {
    const { guest, host } = running();
    guest.context(DEVICE, { root: guest.stage([0x3000, 0x600]), domain: 7 });
    guest.write64(CCMD, (1n << 63n) | (g << 61n) | low);
    expect(host.mappings).toEqual(['3000>600']);
    expect(guest.read(CCMD + 4)).toBe(Number((g << 29n) | (g << 27n)));
  });

  test('the two halves may be written apart', () => {
    const { guest, host } = running();
    guest.context(DEVICE, { present: false });
    guest.write(CCMD, (DEVICE << 16) | 5);
    expect(host.mappings).toHaveLength(2);
    guest.write(CCMD + 4, ICC | 0x6000_0000);
    expect(host.mappings).toEqual([]);
  });

  test('the function mask widens it', () => {
    const { guest, host } = running();
    guest.context(DEVICE, { present: false });
    guest.write64(CCMD, (1n << 63n) | (3n << 61n) | (3n << 32n) | (BigInt(DEVICE | 7) << 16n));
    expect(host.mappings).toEqual([]);
  });

  test('ICC stays set until the host has confirmed, and the register does not change meanwhile', async () => {
    const { guest, host } = running();
    guest.context(DEVICE, { present: false });
    host.hold();
    guest.write64(CCMD, (1n << 63n) | (1n << 61n));
    guest.write64(CCMD, (1n << 63n) | (3n << 61n) | 5n);
    expect(guest.read(CCMD + 4)).toBe((ICC | 0x2000_0000) >>> 0);
    await host.confirm();
    expect(guest.read(CCMD + 4)).toBe(0x2800_0000);
  });

  test.each([
    ['a reserved granularity', 0n, false, {}],
    ['the queue being enabled', 1n, true, {}],
  ])('%s: ignored, granularity 0', (_, g, queued, capability) => {
    const { guest, host } = running(capability);
    if (queued) guest.queue();
    guest.context(DEVICE, { present: false });
    guest.write64(CCMD, (1n << 63n) | (g << 61n));
    expect(host.mappings).toHaveLength(2);
    expect(guest.read(CCMD + 4)).toBe(Number(g << 29n));
  });

  test('scalable mode: ignored, granularity 0', () => {
    const guest = new UnitGuest({ capability: SCALABLE });
    guest.translate(1);
    guest.write64(CCMD, (1n << 63n) | (1n << 61n));
    expect(guest.read(CCMD + 4)).toBe(0x2000_0000);
  });
});

describe('IOTLB_REG', () => {
  test.each([
    ['global', 1n, 0n, ['1001>801']],
    ['by domain', 2n, 5n, ['1001>801']],
    ['by another domain', 2n, 6n, ['1000>800', '1001>801']],
    ['by page', 3n, 5n, ['1001>801']],
  ])('%s invalidation is done and answered', (_, g, domain, expected) => {
    const { guest, host, root } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.write64(IVA, 0x100_0000n);
    guest.write64(IOTLB, (1n << 63n) | (g << 60n) | (domain << 32n));
    expect(host.mappings).toEqual(expected);
    expect(guest.read(IOTLB + 4)).toBe(Number((g << 28n) | (g << 25n) | domain));
  });

  test('by page, with an address mask', () => {
    const { guest, host, root } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(root, 0x1001, 0, 0);
    guest.write64(IVA, 0x100_1001n);
    guest.write64(IOTLB, (1n << 63n) | (3n << 60n) | (5n << 32n));
    expect(host.mappings).toEqual([]);
  });

  test('IVT stays set until the host has confirmed, and neither register changes meanwhile', async () => {
    const { guest, host, root } = running();
    guest.leaf(root, 0x1000, 0, 0);
    host.hold();
    guest.write64(IOTLB, (1n << 63n) | (1n << 60n));
    guest.write64(IOTLB, (1n << 63n) | (2n << 60n) | (6n << 32n));
    expect(guest.read(IOTLB + 4)).toBe((IVT | 0x1000_0000) >>> 0);
    await host.confirm();
    expect(guest.read(IOTLB + 4)).toBe(0x1200_0000);
  });

  test.each([
    ['a reserved granularity', {}, 0n, 0n],
    ['an address mask beyond MAMV', {}, 3n, 19n],
    ['a page without PSI', { PSI: false }, 3n, 0n],
  ])('%s: ignored, granularity 0', (_, capability, g, iva) => {
    const { guest, host, root } = running(capability);
    guest.leaf(root, 0x1000, 0, 0);
    guest.write64(IVA, iva);
    guest.write64(IOTLB, (1n << 63n) | (g << 60n) | (5n << 32n));
    expect(host.mappings).toHaveLength(2);
    expect(guest.read(IOTLB + 4)).toBe(Number((g << 28n) | 5n));
  });

  test('the queue being enabled: ignored, granularity 0', () => {
    const { guest, host, root } = running();
    guest.queue();
    guest.leaf(root, 0x1000, 0, 0);
    guest.write64(IOTLB, (1n << 63n) | (1n << 60n));
    expect(host.mappings).toHaveLength(2);
    expect(guest.read(IOTLB + 4)).toBe(0x1000_0000);
  });

  test('IVA_REG is write-only', () => {
    const guest = new UnitGuest();
    guest.write64(IVA, 0x1234_5000n);
    expect(guest.read64(IVA)).toBe(0n);
  });
});

const both = { PLMR: true, PHMR: true };

function protecting(): { guest: UnitGuest; host: FollowingHost } {
  const guest = new UnitGuest({ capability: both });
  const host = new FollowingHost(guest.iommu, DEVICE);
  guest.write(0x68, 0x40_0000);
  guest.write(0x6c, 0x40_0000);
  guest.write64(0x70, 0x100_0000n);
  guest.write64(0x78, 0x120_0000n);
  guest.write(PMEN, 0x8000_0000);
  return { guest, host };
}

describe('protected memory', () => {
  test('both regions are cut out of what passes untranslated', () => {
    const { guest, host } = protecting();
    expect(guest.read(PMEN)).toBe(0x8000_0001);
    expect([...host.direct].sort((a, b) => a.start - b.start)).toEqual([
      { start: 0, end: 0x400 },
      { start: 0x600, end: 0x1000 },
      { start: 0x1400, end: RAM_PAGES },
    ]);
  });

  test('a device is refused there, and no fault is recorded', () => {
    const { guest } = protecting();
    const space = guest.iommu.addressSpace(DEVICE);
    expect(dmaRead(space, 0x40_0000n, new Uint8Array(4)).failure?.kind).toBe('device-refused');
    expect(dmaRead(space, 0x60_0000n, new Uint8Array(4)).failure).toBeUndefined();
    expect(guest.read(FSTS)).toBe(0);
  });

  test('a requester that comes later sees them too', () => {
    const { guest } = protecting();
    const later = new FollowingHost(guest.iommu, OTHER);
    expect(later.direct).toHaveLength(3);
  });

  test('turned off, everything is back', () => {
    const { guest, host } = protecting();
    guest.write(PMEN, 0);
    expect(guest.read(PMEN)).toBe(0);
    expect(host.direct).toEqual([{ start: 0, end: RAM_PAGES }]);
  });

  test('regions that change while it is on do not count', () => {
    const { guest, host } = protecting();
    guest.write(0x6c, 0x80_0000);
    guest.write(PMEN, 0x8000_0000);
    expect(host.direct.find(({ start }) => start === 0x600)).toEqual({ start: 0x600, end: 0x1000 });
  });

  test('a region whose limit lies below its base is off', () => {
    const guest = new UnitGuest({ capability: both });
    const host = new FollowingHost(guest.iommu, DEVICE);
    guest.write(0x68, 0x40_0000);
    guest.write64(0x70, 0x100_0000n);
    guest.write(PMEN, 0x8000_0000);
    expect(host.direct).toEqual([{ start: 0, end: RAM_PAGES }]);
  });

  test('PRS follows the confirmation of the host', async () => {
    const { guest, host } = protecting();
    host.hold();
    guest.write(PMEN, 0);
    expect(guest.read(PMEN)).toBe(1);
    await host.confirm();
    expect(guest.read(PMEN)).toBe(0);
  });

  test('a unit without it has no such registers', () => {
    const guest = new UnitGuest();
    guest.write(PMEN, 0x8000_0000);
    guest.write64(0x70, 0xffff_ffffn);
    expect([guest.read(PMEN), guest.read64(0x70)]).toEqual([0, 0n]);
  });

  test('reset ends it', () => {
    const { guest, host } = protecting();
    guest.iommu.reset();
    expect(guest.read(PMEN)).toBe(0);
    expect(host.direct).toEqual([{ start: 0, end: RAM_PAGES }]);
  });
});

describe('address spaces', () => {
  test('the same space each time', () => {
    const { iommu } = new UnitGuest();
    expect(iommu.addressSpace(DEVICE)).toBe(iommu.addressSpace(DEVICE));
  });

  test('one that has listeners is not released', () => {
    const guest = new UnitGuest();
    const host = new FollowingHost(guest.iommu, DEVICE);
    const space = guest.iommu.addressSpace(DEVICE);
    expect(() => guest.iommu.releaseAddressSpace(DEVICE)).toThrow(/listeners/);
    expect(guest.iommu.addressSpace(DEVICE)).toBe(space);
    space.removeListener(host);
    guest.iommu.releaseAddressSpace(DEVICE);
    expect(guest.iommu.addressSpace(DEVICE)).not.toBe(space);
  });

  test('releasing what nobody asked for does nothing', () => {
    const guest = new UnitGuest();
    expect(() => guest.iommu.releaseAddressSpace(DEVICE)).not.toThrow();
  });

  test("a device's write to the interrupt range is an interrupt", () => {
    const { guest } = running();
    const result = dmaWrite(
      guest.iommu.addressSpace(DEVICE),
      0xfee0_1004n,
      new Uint8Array([0x41, 0x02, 0, 0]),
    );
    expect(result.failure).toBeUndefined();
    expect(guest.messages).toEqual([{ address: 0xfee0_1004n, data: 0x241 }]);
  });

  test('settled returns at once when nothing is pending', () => {
    const { guest } = running();
    expect(guest.iommu.settled()).toBeUndefined();
  });
});
