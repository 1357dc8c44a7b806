import { describe, expect, test } from 'vitest';
import { Access, ALL_PAGES } from '../../../src/memory/index.ts';
import type { Capability } from '../../../src/models/vtd/index.ts';
import {
  deviceTlb,
  FSTS,
  IQE,
  iotlbDomain,
  iotlbGlobal,
  iotlbPage,
  pasidCache,
  pasidDeviceTlb,
  pasidIotlb,
  ROOT,
  SCALABLE,
  UnitGuest,
  wait,
} from './unit-guest.ts';
import { FollowingHost, heldBarrier } from './unit-host.ts';

const DEVICE = 0x0208;
const PASID_TABLE = 0x31;
const FIRST_STAGE = 1n;
const SECOND_STAGE = 2n;
const NESTED = 3n;

/** A scalable-mode guest whose one device has a PASID table; translation is off yet. */
function scalableGuest(capability: Partial<Capability> = {}): UnitGuest {
  const guest = new UnitGuest({ capability: { ...SCALABLE, ...capability }, guestStopped: true });
  guest.poke(ROOT, 4, (0x21n << 12n) | 1n);
  const context = (DEVICE & 0x7f) * 4;
  guest.poke(0x21, context, (0x30n << 12n) | 1n | 8n);
  guest.poke(0x30, 0, (BigInt(PASID_TABLE) << 12n) | 1n);
  return guest;
}

/** Sets the PASID-table entry of `pasid`: second stage at `root`, first stage at `first`. */
function entry(guest: UnitGuest, pasid: number, type: bigint, domain: number, root: number, first = 0): void {
  const at = pasid * 8;
  guest.poke(PASID_TABLE, at, (BigInt(root) << 12n) | (type << 6n) | (2n << 2n) | 1n);
  guest.poke(PASID_TABLE, at + 1, BigInt(domain));
  guest.poke(PASID_TABLE, at + 2, BigInt(first) << 12n);
}

/** Index 0 in domain 5, PASID 7 in domain 6, both second stage, each followed by a shadow. */
function running(): {
  guest: UnitGuest;
  host: FollowingHost;
  pasid: FollowingHost;
  root: number;
  pasidRoot: number;
} {
  const guest = scalableGuest();
  const root = guest.stage([0x1000, 0x800]);
  const pasidRoot = guest.stage([0x1000, 0x900]);
  entry(guest, 0, SECOND_STAGE, 5, root);
  entry(guest, 7, SECOND_STAGE, 6, pasidRoot);
  guest.queue({ wide: true });
  guest.translate(1);
  const host = new FollowingHost(guest.iommu, DEVICE);
  const pasid = new FollowingHost(guest.iommu, 0x1000);
  host.region.registerNotifierReplay(pasid.notifier(7), 4096n, false);
  // From here on the unit knows which domain the PASID is in.
  guest.submit(pasidCache(3));
  host.takeLog();
  pasid.takeLog();
  return { guest, host, pasid, root, pasidRoot };
}

describe('PASID-cache invalidation', () => {
  test.each([
    ['global', pasidCache(3)],
    ['by domain', pasidCache(0, 6)],
    ['by PASID', pasidCache(1, 6, 7)],
  ])('%s switches the PASID to its new tables', (_, descriptor) => {
    const { guest, host, pasid } = running();
    entry(guest, 7, SECOND_STAGE, 9, guest.stage([0x3000, 0x600]));
    guest.submit(descriptor, wait(1));
    expect(pasid.mappings).toEqual(['3000>600']);
    expect(host.mappings).toEqual(['1000>800']);
    expect(guest.status(0)).toBe(1);
  });

  test('of another domain changes nothing', () => {
    const { guest, pasid } = running();
    entry(guest, 7, SECOND_STAGE, 9, guest.stage([0x3000, 0x600]));
    guest.submit(pasidCache(1, 5000, 7));
    expect(pasid.mappings).toEqual(['1000>900']);
  });

  test('the reserved granularity is an error of the queue', () => {
    const { guest } = running();
    guest.submit(pasidCache(2));
    expect(guest.read(FSTS)).toBe(IQE);
  });
});

describe('IOTLB invalidation by index', () => {
  test('a domain of one PASID leaves the others alone', () => {
    const { guest, host, pasid, root, pasidRoot } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(pasidRoot, 0x1000, 0, 0);
    guest.submit(iotlbDomain(6));
    expect([host.takeLog(), pasid.takeLog()]).toEqual([[], ['unmap 1000']]);
  });

  test('PASID-selective within a domain', () => {
    const { guest, host, pasid, root, pasidRoot } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(pasidRoot, 0x1000, 0, 0);
    guest.submit(pasidIotlb(2, 6, 7));
    expect([host.takeLog(), pasid.takeLog()]).toEqual([[], ['unmap 1000']]);
  });

  test('PASID-selective of another PASID of the domain', () => {
    const { guest, pasid, pasidRoot } = running();
    guest.leaf(pasidRoot, 0x1000, 0, 0);
    guest.submit(pasidIotlb(2, 6, 8));
    expect(pasid.takeLog()).toEqual([]);
  });

  test('page-selective within a PASID', () => {
    const { guest, pasid, pasidRoot } = running();
    guest.leaf(pasidRoot, 0x1000, 0, 0);
    guest.leaf(pasidRoot, 0x1001, 0x901);
    guest.leaf(pasidRoot, 0x1002, 0x902);
    guest.submit(pasidIotlb(3, 6, 7, 0x1001, 1));
    expect(pasid.takeLog()).toEqual(['unmap 1000', 'map 1001']);
  });

  test('requests without PASID go by whatever RID_PASID says', () => {
    const { guest, host, root } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(pasidIotlb(2, 5, 0));
    expect(host.takeLog()).toEqual(['unmap 1000']);
  });

  test('global reaches every PASID', () => {
    const { guest, host, pasid, root, pasidRoot } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(pasidRoot, 0x1000, 0, 0);
    guest.submit(iotlbGlobal());
    expect([host.mappings, pasid.mappings]).toEqual([[], []]);
  });

  test('the first invalidation after a PASID has registered covers it whatever it names', () => {
    const { guest, host, pasidRoot } = running();
    entry(guest, 9, SECOND_STAGE, 6, pasidRoot);
    const later = new FollowingHost(guest.iommu, 0x1001);
    host.region.registerNotifierReplay(later.notifier(9), 4096n, false);
    guest.leaf(pasidRoot, 0x1000, 0, 0);
    guest.submit(iotlbPage(4321, 0x9999));
    expect(later.mappings).toEqual([]);
  });

  test('what is cached for a PASID without notifiers is forgotten too', () => {
    const guest = scalableGuest();
    const root = guest.stage([0x1000, 0x800]);
    entry(guest, 7, SECOND_STAGE, 6, root);
    guest.queue({ wide: true });
    guest.translate(1);
    const { region } = guest.iommu.requesterSpace(DEVICE);
    expect(region.translatePage(0x1000, Access.Read, 7).target).toBe(0x800);
    guest.leaf(root, 0x1000, 0x801);
    guest.submit(iotlbPage(6, 0x1000));
    expect(region.translatePage(0x1000, Access.Read, 7).target).toBe(0x801);
  });
});

function firstStagePath(guest: UnitGuest, root: number): [number, number][] {
  const path: [number, number][] = [];
  let page = root;
  for (const shift of [27, 18, 9, 0]) {
    const index = Math.floor(0x1000 / 2 ** shift) % 512;
    path.push([page, index]);
    page = Number((guest.peek(page, index) >> 12n) & 0xfffffn);
  }
  return path;
}

/** A first stage at guest-physical addresses with one page 0x1000 -> `target`. */
function firstStage(guest: UnitGuest, target: number): number {
  const root = guest.table();
  guest.leaf(root, 0x1000, target);
  for (const [page, index] of firstStagePath(guest, root))
    guest.poke(page, index, guest.peek(page, index) | 7n);
  return root;
}

describe('first stage and nested', () => {
  test('a second-stage page invalidation covers every first-stage page of its domain', () => {
    const guest = scalableGuest();
    const first = firstStage(guest, 0x1800);
    const second = guest.stage([0x1800, 0x700]);
    for (const [page] of firstStagePath(guest, first)) guest.leaf(second, page, page);
    entry(guest, 0, NESTED, 5, second, first);
    guest.queue({ wide: true });
    guest.translate(1);
    const host = new FollowingHost(guest.iommu, DEVICE);
    expect(host.mappings).toEqual(['1000>700']);
    guest.leaf(second, 0x1800, 0x701);
    guest.submit(iotlbPage(5, 0x1800));
    expect(host.mappings).toEqual(['1000>701']);
  });

  test('a PASID-based page invalidation follows first-stage pages', () => {
    const guest = scalableGuest();
    const first = firstStage(guest, 0x1800);
    entry(guest, 0, FIRST_STAGE, 5, 0, first);
    guest.queue({ wide: true });
    guest.translate(1);
    const host = new FollowingHost(guest.iommu, DEVICE);
    expect(host.mappings).toEqual(['1000>1800']);
    const [page, index] = firstStagePath(guest, first)[3] ?? [0, 0];
    guest.poke(page, index, 0n);
    guest.submit(pasidIotlb(3, 5, 0, 0x1000));
    expect(host.mappings).toEqual([]);
  });
});

function caching(): { guest: UnitGuest; heard: (index: number) => string[] } {
  const { guest, host } = running();
  const log = new Map<number, string[]>();
  for (const index of [0, 7]) {
    log.set(index, []);
    host.region.registerNotifier({
      events: 'device-iotlb-unmap',
      range: ALL_PAGES,
      index,
      notify: ({ iova, pages }) => {
        log.get(index)?.push(`${iova.toString(16)}+${pages.toString(16)}`);
      },
    });
  }
  return { guest, heard: (index) => log.get(index) ?? [] };
}

describe('device-TLB invalidation', () => {
  test.each([
    ['one page', deviceTlb(DEVICE, 0x1234), ['1234+1']],
    ['two pages', deviceTlb(DEVICE, 0x1234, true), ['1234+2']],
    ['sixteen pages', deviceTlb(DEVICE, 0x1237, true), ['1230+10']],
    ['everything', deviceTlb(DEVICE, 2 ** 51 - 1, true), ['0+10000000000000']],
    ['another device', deviceTlb(DEVICE + 1, 0x1234), []],
  ])('%s', (_, descriptor, expected) => {
    const { guest, heard } = caching();
    guest.submit(descriptor, wait(1));
    expect([heard(0), heard(7)]).toEqual([expected, []]);
    expect(guest.status(0)).toBe(1);
  });

  test.each([
    ['of a PASID', pasidDeviceTlb(DEVICE, 7, 0x1234), [], ['1234+1']],
    ['of every PASID', pasidDeviceTlb(DEVICE, 0, 0x1234, { g: true, s: true }), ['1234+2'], ['1234+2']],
  ])('%s', (_, descriptor, without, withPasid) => {
    const { guest, heard } = caching();
    guest.submit(descriptor);
    expect([heard(0), heard(7)]).toEqual([without, withPasid]);
  });

  test('is waited for', async () => {
    const { guest, host } = running();
    const { barrier, resolve } = heldBarrier();
    host.region.registerNotifier({
      events: 'device-iotlb-unmap',
      range: ALL_PAGES,
      index: 0,
      notify: () => undefined,
      barrier,
    });
    guest.submit(deviceTlb(DEVICE, 1), wait(1));
    expect(guest.status(0)).toBe(0);
    resolve();
    await guest.iommu.settled();
    expect(guest.status(0)).toBe(1);
  });
});
