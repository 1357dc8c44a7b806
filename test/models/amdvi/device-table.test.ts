import { describe, expect, it } from 'vitest';
import { Access, dmaRead, PAGES_END } from '../../../src/memory/index.ts';
import {
  AmdviGuest,
  CONTROL,
  DEVICE,
  DEVICE_TABLE,
  DEVICE_TABLE_BASE,
  type DeviceTableFields,
  EXCLUSION_BASE,
  EXCLUSION_LIMIT,
  OTHER,
  RUNNING,
} from './amdvi-guest.ts';
import { world, write } from './device-world.ts';
import { FollowingHost } from './following-host.ts';
import { leafText, translated, walked } from './observe.ts';

const RAM = '0-4000';

describe('an entry', () => {
  it('without V lets everything pass untranslated', () => {
    const guest = world({ v: false, tv: true, mode: 7, access: 0 });
    const host = new FollowingHost(guest.iommu, DEVICE);

    expect([...host.direct]).toEqual([RAM]);
    expect(write(guest, 0x8000n)).toBe('done');
  });

  it('with V and without TV ends every request', () => {
    const guest = world({ tv: false });

    expect(write(guest, 0x8000n)).toBe('2000');
    expect(walked(guest.iommu.requesterSpace(DEVICE).region).leaves).toEqual([]);
    expect(guest.takeEvents()).toHaveLength(1);
  });

  it('with Mode 0 and every permission lets everything pass untranslated', () => {
    const guest = world({ mode: 0 });
    const host = new FollowingHost(guest.iommu, DEVICE);

    expect([...host.direct]).toEqual([RAM]);
    expect(write(guest, 0x8000n)).toBe('done');
  });

  it('with Mode 0 that permits reading lets reads pass', () => {
    const guest = world({ mode: 0, access: 1 });
    const { region } = guest.iommu.requesterSpace(DEVICE);

    expect(walked(region).leaves).toEqual([leafText(0, PAGES_END, 0, Access.Read)]);
    expect(translated(region, 8, Access.Read)).toBe(leafText(8, 1, 8, Access.Read));
    expect(write(guest, 0x8000n)).toBe('2050');
    expect(dmaRead(guest.iommu.addressSpace(DEVICE), 0x8000n, new Uint8Array(4)).failure).toBeUndefined();
  });

  it('with Mode 0 that permits reading is followed as one mapping of all RAM', () => {
    const guest = world({ mode: 0, access: 1 });
    const host = new FollowingHost(guest.iommu, DEVICE);

    expect(host.mappings.filter((text) => !text.endsWith('!'))).toEqual([
      leafText(0, 0x4000, 0, Access.Read),
    ]);
  });

  it('with Mode 7 is illegal', () => {
    const guest = world({ mode: 7 });

    expect(write(guest, 0x8000n)).toBe('1000');
    expect(guest.takeEvents()).toEqual([[(0x1020n << 48n) | BigInt(DEVICE), 0x8000n]]);
  });

  it('with more levels than HATS allows is illegal', () => {
    const guest = new AmdviGuest({ capability: { HATS: 0 } });
    guest.entry(DEVICE, { mode: 5 });
    guest.start();

    expect(write(guest, 0n)).toBe('1000');
  });

  it('with a reserved bit is illegal', () => {
    const guest = world({});
    guest.rawEntry(DEVICE, [0x3n | (3n << 9n) | (3n << 61n) | 4n, 0n, 0n, 0n]);

    expect(write(guest, 0x8000n)).toBe('1080');
    expect(guest.takeEvents()).toEqual([[(0x10a0n << 48n) | BigInt(DEVICE), 0x8000n]]);
  });

  it('with a reserved bit among its interrupt fields is none to DMA', () => {
    const guest = world({});
    guest.rawEntry(DEVICE, [0x3n | (3n << 61n), 0n, 1n << 59n, 1n]);

    expect(write(guest, 0x8000n)).toBe('done');
  });

  it('beyond the end of the table is none', () => {
    const guest = world({});
    guest.write(DEVICE_TABLE_BASE, BigInt(DEVICE_TABLE * 4096) | 3n);

    expect(write(guest, 0x8000n, 0x1ff)).toBe('done');
    expect(write(guest, 0x8000n, 0x200)).toBe('1000');
  });

  it('outside RAM cannot be read', () => {
    const guest = world({});
    guest.write(DEVICE_TABLE_BASE, 0x7fff_f000n | 0x1ffn);

    expect(write(guest, 0x8000n)).toBe('3200');
    expect(guest.takeEvents()).toEqual([
      [(0x3220n << 48n) | BigInt(DEVICE), 0x7fff_f000n + BigInt(DEVICE * 32)],
    ]);
  });
});

describe('IommuEn', () => {
  it('off lets everything pass, whatever the device table says', () => {
    const guest = new AmdviGuest();
    guest.entry(DEVICE, { mode: 7 });
    guest.start(RUNNING & ~1);

    expect(write(guest, 0x8000n)).toBe('done');
  });

  it('on and off again move a device between RAM and its tables in one transaction each', () => {
    const guest = new AmdviGuest();
    guest.entry(DEVICE, { root: guest.tables([0x1000, 0x800]) });
    const host = new FollowingHost(guest.iommu, DEVICE);
    host.takeLog();

    guest.start();
    const on = host.takeLog();
    guest.write(CONTROL, 0);

    expect(on).toEqual([`no ram ${RAM}`, 'map 1000+1']);
    expect(host.takeLog()).toEqual(['unmap 1000+1', `ram ${RAM}`]);
    expect(host.allViolations).toEqual([]);
  });

  it('written as it was sends nothing', () => {
    const guest = new AmdviGuest();
    guest.entry(DEVICE, { root: guest.tables([0x1000, 0x800]) });
    guest.start();
    const host = new FollowingHost(guest.iommu, DEVICE);
    host.takeLog();

    guest.write(CONTROL, RUNNING);
    guest.start();

    expect(host.takeLog()).toEqual([]);
  });
});

describe('the device table base', () => {
  it('moved to another table is followed', () => {
    const guest = new AmdviGuest();
    guest.entry(DEVICE, { root: guest.tables([0x1000, 0x800]) });
    guest.start();
    const host = new FollowingHost(guest.iommu, DEVICE);
    host.takeLog();
    const root = guest.tables([0x1001, 0x801]);
    guest.poke(0x60 + (DEVICE >> 7), 0, 0x3n | (3n << 9n) | (BigInt(root) << 12n) | (3n << 61n));

    guest.write(DEVICE_TABLE_BASE, 0x60_00fn);

    expect(host.takeLog()).toEqual(['unmap 1000+1', 'map 1001+1']);
    expect(host.mappings).toEqual([leafText(0x1001, 1, 0x801, 3)]);
  });
});

/** Tables beneath an exclusion range of two pages; `flags` are ExEn and Allow. */
function excluded(fields: DeviceTableFields, flags: bigint): AmdviGuest {
  const guest = new AmdviGuest();
  guest.entry(DEVICE, { root: guest.tables([0x800, 0x900], [0x802, 0x902]), ...fields });
  guest.start();
  guest.write(EXCLUSION_LIMIT, 0x80_1000n);
  guest.write(EXCLUSION_BASE, 0x80_0000n | flags);
  return guest;
}

describe('the exclusion range', () => {
  it('passes untranslated for a device whose entry has EX', () => {
    const guest = excluded({ ex: true }, 1n);

    expect([write(guest, 0x80_0000n), write(guest, 0x80_1000n), write(guest, 0x80_2000n)]).toEqual([
      'done',
      'done',
      'done',
    ]);
    expect([guest.peek(0x800, 0), guest.peek(0x900, 0)]).toEqual([7n, 0n]);
    expect([guest.peek(0x801, 0), guest.peek(0x902, 0)]).toEqual([7n, 7n]);
  });

  it.each([
    { what: 'without TV', fields: { tv: false }, outcome: 'done' },
    { what: 'with Mode 7', fields: { mode: 7 }, outcome: 'done' },
    { what: 'with a reserved bit', fields: { root: 2 ** 51 }, outcome: '1080' },
  ])('of an entry $what is $outcome', ({ fields, outcome }) => {
    const guest = excluded({ ex: true, ...fields }, 3n);

    expect(write(guest, 0x80_0000n)).toBe(outcome);
  });

  it('is translated for a device whose entry has no EX', () => {
    const guest = excluded({}, 1n);

    expect(write(guest, 0x80_0000n)).toBe('done');
    expect([guest.peek(0x800, 0), guest.peek(0x900, 0)]).toEqual([0n, 7n]);
  });

  it('passes untranslated for every device with Allow', () => {
    const guest = excluded({}, 3n);
    guest.entry(OTHER, { tv: false });

    expect(write(guest, 0x80_0000n)).toBe('done');
    expect(write(guest, 0x80_0000n, OTHER)).toBe('done');
    expect(guest.peek(0x900, 0)).toBe(0n);
  });

  it('is nothing without ExEn, or with its limit below its base', () => {
    const guest = excluded({ ex: true }, 2n);
    const before = write(guest, 0x80_0000n);
    guest.write(EXCLUSION_BASE, 0x80_0001n);
    guest.write(EXCLUSION_LIMIT, 0x7f_f000n);

    expect([before, write(guest, 0x80_0000n)]).toEqual(['done', 'done']);
    expect(guest.peek(0x800, 0)).toBe(0n);
  });

  it('is seen by a host as RAM between what the tables map', () => {
    const guest = excluded({ ex: true }, 1n);
    const host = new FollowingHost(guest.iommu, DEVICE);

    expect([...host.direct]).toEqual(['800-802']);
    expect(host.mappings).toEqual([leafText(0x802, 1, 0x902, 3)]);
  });

  it('comes and goes with its registers', () => {
    const guest = excluded({ ex: true }, 0n);
    const host = new FollowingHost(guest.iommu, DEVICE);
    guest.write(EXCLUSION_BASE, 0x80_0001n);
    const during = host.mappings;
    guest.write(EXCLUSION_BASE, 0n);

    expect(during).toEqual([leafText(0x802, 1, 0x902, 3)]);
    expect(host.mappings).toEqual([leafText(0x800, 1, 0x900, 3), leafText(0x802, 1, 0x902, 3)]);
    expect(host.allViolations).toEqual([]);
  });
});
