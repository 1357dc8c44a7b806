import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { RegisterDumpError, VtdIommu } from '../../../src/models/vtd/index.ts';
import { guestMemory } from '../../support/guest-memory.ts';
import { FRCD, FSTS, GSTS, iotlbPage, IQH, PPF, QUEUE, RTADDR, UnitGuest, wait } from './unit-guest.ts';
import { FollowingHost } from './unit-host.ts';

const DEVICE = 0x0208;
const CAPTURES = [
  'vtd-legacy-e1000',
  'vtd-legacy-e1000-aw39',
  'vtd-vfio-mix',
  'vtd-sm-second-stage',
  'vtd-sm-first-stage',
];

function captured(name: string): Uint8Array {
  const text = readFileSync(new URL(`../../../captures/${name}/capture.json`, import.meta.url), 'utf8');
  const { iommu } = JSON.parse(text) as { iommu: { registers: { hex: string } } };
  return Uint8Array.from(Buffer.from(iommu.registers.hex, 'hex'));
}

/** The registers of a unit as software reads them. */
function dump(iommu: VtdIommu, bytes = 0x230): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  for (let at = 0; at < bytes; at += 4) view.setUint32(at, Number(iommu.readRegister(at, 4)), true);
  return new Uint8Array(view.buffer);
}

/** A second unit on the memory of `guest`, made from `bytes`. */
function restored(guest: UnitGuest, bytes: Uint8Array): VtdIommu {
  return VtdIommu.fromRegisters({ memory: guest.guest.space, bytes });
}

describe('captured registers', () => {
  test.each(CAPTURES)('%s reads back as it was saved', (name) => {
    const bytes = captured(name);
    const iommu = VtdIommu.fromRegisters({ memory: guestMemory([0, 16]).space, bytes });
    expect(dump(iommu)).toEqual(bytes);
  });

  test.each([
    ['vtd-legacy-e1000', 0, 0x247d],
    ['vtd-sm-second-stage', 1, 0x149151],
  ])('%s: translation is on, in mode %i, with its root table', (name, mode, root) => {
    const iommu = VtdIommu.fromRegisters({ memory: guestMemory([0, 16]).space, bytes: captured(name) });
    expect(iommu.translationEnabled).toBe(true);
    expect([iommu.translationTableMode, iommu.rootTable]).toEqual([mode, root]);
  });
});

function running(): UnitGuest {
  const guest = new UnitGuest();
  guest.context(DEVICE, { root: guest.stage([0x1000, 0x800]), domain: 5 });
  guest.queue();
  guest.translate();
  guest.submit(wait(1), wait(2));
  return guest;
}

describe('a unit made from the registers of another', () => {
  test('shows the same mappings', () => {
    const guest = running();
    const copy = restored(guest, dump(guest.iommu));
    expect(new FollowingHost(copy, DEVICE).mappings).toEqual(['1000>800']);
  });

  test('goes on with the queue', () => {
    const guest = running();
    const copy = restored(guest, dump(guest.iommu));
    guest.put(wait(7));
    copy.writeRegister(0x88, BigInt(guest.tail), 8);
    expect(guest.status(0)).toBe(7);
    expect(Number(copy.readRegister(IQH, 4))).toBe(0x30);
  });

  test('completes the waits that were pending when the registers were saved', async () => {
    const guest = running();
    const host = new FollowingHost(guest.iommu, DEVICE);
    host.hold();
    guest.submit(iotlbPage(5, 0x1000), wait(9));
    const bytes = dump(guest.iommu);
    expect(guest.status(0)).toBe(2);
    restored(guest, bytes);
    expect(guest.status(0)).toBe(9);
    await host.confirm();
  });

  test('keeps pending faults and records the next one behind them', () => {
    const guest = new UnitGuest({ capability: { NFR: 2 } });
    guest.iommu.recordFault({ requester: 1, page: 1, isWrite: false, pasid: undefined, code: 6, fpd: false });
    const copy = restored(guest, dump(guest.iommu, 0x250));
    copy.recordFault({ requester: 2, page: 2, isWrite: false, pasid: undefined, code: 6, fpd: false });
    expect([copy.readRegister(FRCD, 8), copy.readRegister(FRCD + 16, 8)]).toEqual([0x1000n, 0x2000n]);
    expect(Number(copy.readRegister(FSTS, 4))).toBe(PPF);
  });

  test('does an invalidation again that was under way', () => {
    const guest = running();
    guest.command(0, 0x0400_0000);
    const bytes = dump(guest.iommu);
    new DataView(bytes.buffer).setUint32(0x2c, 0xa000_0000, true);
    const copy = restored(guest, bytes);
    expect(Number(copy.readRegister(0x2c, 4))).toBe(0x2800_0000);
  });

  test('restores protected memory', () => {
    const guest = new UnitGuest({ capability: { PLMR: true } });
    guest.write(0x68, 0x40_0000);
    guest.write(0x6c, 0x40_0000);
    guest.write(0x64, 0x8000_0000);
    const copy = restored(guest, dump(guest.iommu));
    expect(new FollowingHost(copy, DEVICE).direct).toHaveLength(2);
  });

  test('restored in place, spaces that exist follow', () => {
    const guest = running();
    const bytes = dump(guest.iommu);
    const host = new FollowingHost(guest.iommu, DEVICE);
    guest.iommu.reset();
    expect(host.mappings).toEqual([]);
    guest.iommu.restore(bytes);
    expect(host.mappings).toEqual(['1000>800']);
    expect(guest.read64(RTADDR)).toBe(0x1_0000n);
  });

  test('without the fault records, those are as after a reset', () => {
    const guest = running();
    guest.iommu.recordFault({ requester: 1, page: 1, isWrite: false, pasid: undefined, code: 6, fpd: false });
    const copy = restored(guest, dump(guest.iommu, 0x100));
    expect([copy.readRegister(FSTS, 4), copy.readRegister(FRCD, 8)]).toEqual([0n, 0n]);
  });
});

/** The error that restoring `bytes` throws. */
function refusal(bytes: Uint8Array): RegisterDumpError {
  try {
    VtdIommu.fromRegisters({ memory: guestMemory([0, 16]).space, bytes });
  } catch (error) {
    if (error instanceof RegisterDumpError) return error;
  }
  throw new Error('the dump was taken');
}

describe('dumps that are refused', () => {
  const whole = captured('vtd-legacy-e1000');

  test.each([
    [0, 'ECAP_REG'],
    [0x17, 'ECAP_REG'],
    [0x18, 'GCMD_REG'],
    [0x40, 'FEADDR_REG'],
    [0x92, 'IQA_REG'],
    [0xbf, 'IRTA_REG'],
  ])('%i bytes: the error names what is missing', (length, name) => {
    const error = refusal(whole.slice(0, length));
    expect(error.code).toBe('VIOMMU_REGISTER_DUMP');
    expect(error.message).toContain(`${length} bytes`);
    expect(error.message).toContain(name);
  });

  test('capabilities that place two registers at one offset', () => {
    const bytes = whole.slice();
    bytes.set([0, 0, 0, 0x02], 8);
    new DataView(bytes.buffer).setUint32(12, 0, true);
    expect(refusal(bytes).message).toContain('0x20');
  });

  test('a queue head outside the queue', () => {
    const bytes = whole.slice();
    new DataView(bytes.buffer).setUint32(IQH, 0x1_0000, true);
    expect(refusal(bytes).message).toContain('IQH_REG at 0x80');
  });

  test('a unit with other capabilities is left as it is', () => {
    const guest = new UnitGuest();
    guest.queue();
    expect(() => guest.iommu.restore(whole)).toThrow(RegisterDumpError);
    expect(guest.read(GSTS)).toBe(0x0400_0000);
  });

  test('any other content is taken', () => {
    const bytes = new Uint8Array(0x230).fill(0xff);
    bytes.set(whole.subarray(0, 0x18));
    new DataView(bytes.buffer).setUint32(IQH, 0, true);
    const { space } = guestMemory([0, QUEUE]);
    const iommu = VtdIommu.fromRegisters({ memory: space, bytes });
    expect(iommu.readRegister(FSTS, 4) & 0x10n).toBe(0x10n);
  });
});
