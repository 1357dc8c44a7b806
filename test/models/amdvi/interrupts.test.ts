import { describe, expect, it } from 'vitest';
import { dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { AmdviGuest, DEVICE, DEVICE_TABLE_BASE, invalidateDomain, invalidatePage } from './amdvi-guest.ts';
import { world, write } from './device-world.ts';
import { FollowingHost } from './following-host.ts';
import { leafText } from './observe.ts';

describe('interrupts of devices', () => {
  const ADDRESS = 0xfee0_1000n;

  it.each([
    { what: 'of an invalid entry', fields: { v: false } },
    { what: 'without IV', fields: { iv: false, intCtl: 0 } },
    { what: 'that are forwarded', fields: { iv: true, intCtl: 1 } },
    { what: 'that would be remapped', fields: { iv: true, intCtl: 2 } },
  ])('$what arrive as they were sent', ({ fields }) => {
    const guest = world({ ...fields, root: 0x100 });

    expect(write(guest, ADDRESS)).toBe('done');
    expect(guest.messages).toEqual([{ address: ADDRESS, data: 7 }]);
  });

  it('that IntCtl blocks are an INVALID_DEVICE_REQUEST', () => {
    const guest = world({ iv: true, intCtl: 0 });

    expect(write(guest, ADDRESS)).toBe('device-refused');
    expect(guest.messages).toEqual([]);
    expect(guest.takeEvents()).toEqual([[(0x8a00n << 48n) | BigInt(DEVICE), ADDRESS]]);
  });

  it('with the reserved IntCtl are an illegal entry', () => {
    const guest = world({ iv: true, intCtl: 3 });

    expect(write(guest, ADDRESS)).toBe('device-refused');
    expect(guest.takeEvents()).toEqual([[(0x10a8n << 48n) | BigInt(DEVICE), ADDRESS]]);
  });

  it('with a reserved bit among the interrupt fields are an illegal entry', () => {
    const guest = world({ v: false });
    guest.rawEntry(DEVICE, [0n, 0n, 1n | (1n << 60n) | (1n << 59n), 0n]);

    expect(write(guest, ADDRESS)).toBe('device-refused');
    expect(guest.takeEvents()).toEqual([[(0x10a8n << 48n) | BigInt(DEVICE), ADDRESS]]);
  });

  it('of a device without an entry are an illegal entry', () => {
    const guest = world({});

    expect(write(guest, ADDRESS, 0x0800)).toBe('device-refused');
    expect(guest.takeEvents()).toEqual([[(0x1028n << 48n) | 0x0800n, ADDRESS]]);
  });

  it('of a device whose entry cannot be read are a hardware error', () => {
    const guest = world({});
    guest.write(DEVICE_TABLE_BASE, 0x7fff_f000n);

    expect(write(guest, ADDRESS, 0x40)).toBe('device-refused');
    expect(guest.takeEvents()).toEqual([[(0x3228n << 48n) | 0x40n, 0x7fff_f800n]]);
  });

  it.each([2, 3, 8])('are no writes of %i bytes', (length) => {
    const guest = world({ root: 0x100 });
    const result = dmaWrite(guest.iommu.addressSpace(DEVICE), ADDRESS, new Uint8Array(length));

    expect(result.failure?.kind).toBe('device-refused');
    expect(guest.takeEvents()).toEqual([[(0x8000n << 48n) | BigInt(DEVICE), ADDRESS]]);
  });

  it('are no reads', () => {
    const guest = world({ root: 0x100 });
    const result = dmaRead(guest.iommu.addressSpace(DEVICE), ADDRESS, new Uint8Array(4));

    expect(result.failure?.kind).toBe('device-refused');
    expect(guest.takeEvents()).toHaveLength(1);
  });

  it('arrive while the IOMMU is off, and what is none is not logged', () => {
    const guest = new AmdviGuest();
    const reading = dmaRead(guest.iommu.addressSpace(DEVICE), ADDRESS, new Uint8Array(4));

    expect(write(guest, ADDRESS)).toBe('done');
    expect(reading.failure?.kind).toBe('device-refused');
    expect(guest.observed).toEqual([]);
  });
});

/** 1 GiB at 0xc0000000, followed on both sides of the range. */
function across(): { guest: AmdviGuest; host: FollowingHost; root: number } {
  const guest = new AmdviGuest();
  const root = guest.table();
  guest.map(root, 3, 0xc0000, 0x40000, 0);
  guest.entry(DEVICE, { root });
  guest.start();
  return { guest, host: new FollowingHost(guest.iommu, DEVICE), root };
}

describe('a page across the interrupt range', () => {
  it('is followed in two pieces, which leave the range out', () => {
    const { host } = across();

    expect(host.mappings.filter((text) => !text.endsWith('!'))).toEqual([leafText(0xc0000, 0x4000, 0, 3)]);
    expect(
      host
        .takeLog()
        .filter((text) => text.startsWith('map'))
        .at(-1),
    ).toBe('map fef00+1100');
  });

  it('goes on both sides when a page on one side is invalidated', () => {
    const { guest, host, root } = across();
    guest.map(root, 3, 0xc0000, 0x40000, 0, 0);
    guest.submit(invalidatePage(1, 0xc0000));

    expect(host.mappings).toEqual([]);
    expect(host.allViolations).toEqual([]);
  });

  it('of an encoded size goes on both sides likewise', () => {
    const { guest, host, root } = across();
    guest.map(root, 3, 0xc0000, 0x40000, 0, 0);
    guest.map(root, 3, 0xfe000, 0x2000, 0);
    guest.submit(invalidateDomain(1));
    const before = host.mappings;
    guest.map(root, 3, 0xfe000, 0x2000, 0, 0);
    guest.submit(invalidatePage(1, 0xff000));

    expect(before).toEqual([leafText(0xfe000, 0xe00, 0, 3), leafText(0xfef00, 0x1100, 0xf00, 3)]);
    expect(host.mappings).toEqual([]);
  });

  it('appears on both sides when a page on one side is invalidated', () => {
    const guest = new AmdviGuest();
    const root = guest.table();
    guest.entry(DEVICE, { root });
    guest.start();
    const host = new FollowingHost(guest.iommu, DEVICE);
    guest.map(root, 3, 0xfe000, 0x2000, 0);
    guest.submit(invalidatePage(1, 0xff000));

    expect(host.mappings).toEqual([leafText(0xfe000, 0xe00, 0, 3), leafText(0xfef00, 0x1100, 0xf00, 3)]);
    expect(host.allViolations).toEqual([]);
  });
});
