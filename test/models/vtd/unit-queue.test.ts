import { describe, expect, test } from 'vitest';
import {
  contextDevice,
  contextDomain,
  contextGlobal,
  FECTL,
  FSTS,
  GSTS,
  ICS,
  IECTL,
  INTERRUPTING_WAIT,
  IEADDR,
  IEDATA,
  IQA,
  IQE,
  IQERCD,
  IQH,
  IQT,
  iotlbDomain,
  iotlbGlobal,
  iotlbPage,
  QIE,
  QUEUE,
  RAM_PAGES,
  SCALABLE,
  SRTP,
  STATUS,
  RTADDR,
  UnitGuest,
  wait,
} from './unit-guest.ts';
import { FollowingHost, heldBarrier } from './unit-host.ts';

const DEVICE = 0x0208;
const OTHER = 0x0310;

/** Two requesters in domains 5 and 6, followed by a host each, with the queue enabled. */
function running(): {
  guest: UnitGuest;
  host: FollowingHost;
  other: FollowingHost;
  root: number;
  otherRoot: number;
} {
  const guest = new UnitGuest();
  const root = guest.stage([0x1000, 0x800], [0x1001, 0x801]);
  const otherRoot = guest.stage([0x1000, 0x900]);
  guest.context(DEVICE, { root, domain: 5 });
  guest.context(OTHER, { root: otherRoot, domain: 6 });
  const host = new FollowingHost(guest.iommu, DEVICE);
  const other = new FollowingHost(guest.iommu, OTHER);
  guest.queue();
  guest.translate();
  host.takeLog();
  other.takeLog();
  return { guest, host, other, root, otherRoot };
}

describe('the queue', () => {
  test('a wait writes its status and the head follows the tail', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit(wait(0xdead_beef));
    expect(guest.status(0)).toBe(0xdead_beef);
    expect(guest.read(IQH)).toBe(0x10);
  });

  test('descriptors run past the end of the queue to its beginning', () => {
    const guest = new UnitGuest();
    guest.queue();
    for (let i = 0; i < 255; i++) guest.submit(wait(i));
    guest.submit(wait(1, 1), wait(2, 2));
    expect(guest.read(IQH)).toBe(0x10);
    expect([guest.status(1), guest.status(2)]).toEqual([1, 2]);
  });

  test('a queue of several pages with 256-bit descriptors', () => {
    const guest = new UnitGuest({ capability: SCALABLE });
    guest.queue({ wide: true, qs: 2 });
    guest.submit(...Array.from({ length: 300 }, (_, i) => wait(i + 1, i)));
    expect(guest.read(IQH)).toBe(300 * 32);
    expect(guest.status(299)).toBe(300);
  });

  test('a tail that was set before the queue is enabled is taken up then', () => {
    const guest = new UnitGuest();
    guest.put(wait(7));
    guest.write64(IQA, BigInt(QUEUE) << 12n);
    guest.write64(IQT, 0x10n);
    expect(guest.status(0)).toBe(0);
    guest.command(QIE);
    expect(guest.status(0)).toBe(7);
  });

  test('while it is disabled the head is zero and nothing is fetched', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit(wait(1));
    guest.command(0, QIE);
    expect(guest.read(GSTS) & QIE).toBe(0);
    expect(guest.read(IQH)).toBe(0);
    guest.submit(wait(2));
    expect(guest.status(0)).toBe(1);
  });

  test('IQA_REG is latched when the queue is enabled', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.write64(IQA, BigInt(QUEUE + 8) << 12n);
    guest.submit(wait(3));
    expect(guest.status(0)).toBe(3);
  });

  test('a unit without queued invalidation ignores QIE and the queue registers', () => {
    const guest = new UnitGuest({ capability: { QI: false } });
    guest.queue();
    guest.submit(wait(1));
    expect(guest.read(GSTS) & QIE).toBe(0);
    expect([guest.read64(IQA), guest.read64(IQT)]).toEqual([0n, 0n]);
    expect(guest.status(0)).toBe(0);
  });
});

describe('waits', () => {
  test('the invalidation event is held pending while IM is set and sent when it is cleared', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.write(IEDATA, 0x31);
    guest.write(IEADDR, 0xfee0_1000);
    guest.submit(INTERRUPTING_WAIT);
    expect(guest.read(ICS)).toBe(1);
    expect(guest.read(IECTL)).toBe(0xc000_0000);
    expect(guest.messages).toEqual([]);
    guest.write(IECTL, 0);
    expect(guest.messages).toEqual([{ address: 0xfee0_1000n, data: 0x31 }]);
    expect(guest.read(IECTL)).toBe(0);
  });

  test('the event uses the upper half of its address too', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.write(IECTL, 0);
    guest.write64(IEADDR, 0x1_fee0_2000n);
    guest.submit(INTERRUPTING_WAIT);
    expect(guest.messages).toEqual([{ address: 0x1_fee0_2000n, data: 0 }]);
  });

  test('while IWC is set a further completion is no new event', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.write(IECTL, 0);
    guest.submit(INTERRUPTING_WAIT, INTERRUPTING_WAIT);
    guest.submit(INTERRUPTING_WAIT);
    expect(guest.messages).toHaveLength(1);
    guest.write(ICS, 1);
    guest.submit(INTERRUPTING_WAIT);
    expect(guest.messages).toHaveLength(2);
  });

  test('clearing IWC drops a message that was held pending', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit(INTERRUPTING_WAIT);
    guest.write(ICS, 1);
    guest.write(IECTL, 0);
    expect(guest.messages).toEqual([]);
  });

  test('status write and event together: the status is there when the message is sent', () => {
    let seen = -1;
    const guest: UnitGuest = new UnitGuest({ sendInterrupt: () => (seen = guest.status(0)) });
    guest.queue();
    guest.write(IECTL, 0);
    guest.submit(wait(9, 0, 0x10));
    expect(seen).toBe(9);
  });

  test('a wait that asks for nothing but a fence is legal', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit([5n | 0x40n, 0n], wait(4));
    expect(guest.status(0)).toBe(4);
  });

  test('a status address outside RAM is reported and the queue goes on', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit([5n | 0x20n | (1n << 32n), BigInt(RAM_PAGES) << 12n], wait(6));
    expect(guest.status(0)).toBe(6);
    expect(guest.read(FSTS)).toBe(0);
    expect(guest.events).toMatchObject([
      { kind: 'queue-error', details: { address: BigInt(RAM_PAGES) << 12n } },
    ]);
  });

  test("a status address in the unit's own registers is not written", () => {
    const guest = new UnitGuest();
    guest.guest.root.add(guest.iommu.registers, 0xfed90, 1);
    guest.queue();
    guest.submit([5n | 0x20n | (0x20n << 32n), 0xfed9_0088n]);
    expect(guest.read(IQT)).toBe(0x10);
    expect(guest.events).toMatchObject([{ kind: 'queue-error', details: { address: 0xfed9_0088n } }]);
  });
});

describe('errors of the queue', () => {
  test.each([
    ['an unknown type', 15n, 0n, 3],
    ['a type of scalable mode in legacy mode', 7n, 0n, 3],
    ['a device-TLB invalidation without ECAP.DT', 3n, 0n, 3],
    ['an interrupt-entry invalidation without ECAP.IR', 4n, 0n, 3],
    ['a reserved bit', 5n | 0x100n, 0n, 4],
    ['a reserved granularity of the context cache', 1n, 0n, 4],
    ['a reserved granularity of the IOTLB', 2n, 0n, 4],
    ['an address mask beyond MAMV', 2n | (3n << 4n), 19n, 4],
  ])('%s stops it at the descriptor', (_, low, high, code) => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit(wait(1), [low, high], wait(2));
    expect(guest.status(0)).toBe(1);
    expect(guest.read(IQH)).toBe(0x10);
    expect(guest.read(FSTS)).toBe(IQE);
    expect(guest.read64(IQERCD)).toBe(BigInt(code));
    expect(guest.events).toMatchObject([
      { kind: 'queue-error', details: { address: (BigInt(QUEUE) << 12n) + 0x10n, IQEI: code } },
    ]);
  });

  test('it goes on when software has replaced the descriptor and cleared IQE', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit([15n, 0n], wait(2));
    const [low, high] = wait(1, 1);
    guest.poke(QUEUE, 0, low);
    guest.poke(QUEUE, 1, high);
    guest.submit(wait(3, 3));
    expect([guest.status(0), guest.status(1), guest.status(3)]).toEqual([0, 0, 0]);
    guest.write(FSTS, IQE);
    expect([guest.status(0), guest.status(1), guest.status(3)]).toEqual([2, 1, 3]);
    expect(guest.read(FSTS)).toBe(0);
  });

  test('cleared without a repair, it stops there again', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit([15n, 0n]);
    guest.write(FSTS, IQE);
    expect(guest.read(FSTS)).toBe(IQE);
    expect(guest.read(IQH)).toBe(0);
  });

  test('a tail beyond the queue', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.write(IQT, 0x1000);
    expect(guest.read(FSTS)).toBe(IQE);
    expect(guest.read(IQERCD)).toBe(1);
  });

  test('a tail in the middle of a 256-bit descriptor', () => {
    const guest = new UnitGuest({ capability: SCALABLE });
    guest.queue({ wide: true });
    guest.write(IQT, 0x10);
    expect(guest.read(IQERCD)).toBe(6);
  });

  test('a queue outside RAM', () => {
    const guest = new UnitGuest();
    guest.queue({ page: RAM_PAGES });
    guest.write(IQT, 0x10);
    expect(guest.read(IQERCD)).toBe(2);
    expect(guest.read(IQH)).toBe(0);
  });

  test('256-bit descriptors on a unit without scalable mode', () => {
    const guest = new UnitGuest();
    guest.queue({ wide: true });
    guest.write(IQT, 0x20);
    expect(guest.read(IQERCD)).toBe(5);
  });

  test('128-bit descriptors in scalable mode', () => {
    const guest = new UnitGuest({ capability: SCALABLE });
    guest.queue();
    guest.translate(1);
    guest.submit(wait(1));
    expect(guest.read(IQERCD)).toBe(5);
  });

  test('a translation table mode that the unit cannot use', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.write64(RTADDR, 0x400n);
    guest.command(SRTP);
    guest.submit(wait(1));
    expect(guest.read(IQERCD)).toBe(7);
  });

  test('raise the fault event', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.write(FECTL, 0);
    guest.submit([15n, 0n]);
    expect(guest.messages).toHaveLength(1);
  });
});

describe('what descriptors do', () => {
  test('nothing changes for the host until the guest invalidates', () => {
    const { guest, host, root } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(root, 0x1002, 0x802);
    expect(host.mappings).toEqual(['1000>800', '1001>801']);
    expect(host.takeLog()).toEqual([]);
  });

  test('a page-selective IOTLB invalidation follows exactly its pages', () => {
    const { guest, host, root } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(root, 0x1001, 0, 0);
    guest.submit(iotlbPage(5, 0x1000));
    expect(host.takeLog()).toEqual(['unmap 1000']);
  });

  test('its address mask names an aligned run of pages', () => {
    const { guest, host, root } = running();
    for (const page of [0x1003, 0x1004, 0x1007, 0x1008]) guest.leaf(root, page, 0x700 + page - 0x1000);
    guest.submit(iotlbPage(5, 0x1006, 2));
    expect(host.takeLog()).toEqual(['map 1004', 'map 1007']);
  });

  test('it leaves other domains alone', () => {
    const { guest, other, otherRoot } = running();
    guest.leaf(otherRoot, 0x1000, 0, 0);
    guest.submit(iotlbPage(5, 0x1000), iotlbDomain(5));
    expect(other.takeLog()).toEqual([]);
  });

  test('a domain-selective IOTLB invalidation follows everything of its domain', () => {
    const { guest, host, other, root, otherRoot } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(root, 0x9_0000, 0x555);
    guest.leaf(otherRoot, 0x1000, 0, 0);
    guest.submit(iotlbDomain(5));
    expect(host.takeLog()).toEqual(['unmap 1000', 'map 90000']);
    expect(other.takeLog()).toEqual([]);
  });

  test('a global IOTLB invalidation follows everything of everybody', () => {
    const { guest, host, other, root, otherRoot } = running();
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(otherRoot, 0x1000, 0, 0);
    guest.submit(iotlbGlobal());
    expect([host.mappings, other.mappings]).toEqual([['1001>801'], []]);
  });

  test('a device-selective context invalidation switches that device only', () => {
    const { guest, host, other } = running();
    guest.context(DEVICE, { root: guest.stage([0x3000, 0x600]), domain: 7 });
    guest.context(OTHER, { root: guest.stage([0x3000, 0x601]), domain: 8 });
    guest.submit(contextDevice(5, DEVICE));
    expect(host.mappings).toEqual(['3000>600']);
    expect(other.mappings).toEqual(['1000>900']);
  });

  test.each([
    [0, 0x0209, false],
    [1, 0x020c, true],
    [1, 0x020a, false],
    [2, 0x020e, true],
    [2, 0x0209, false],
    [3, 0x020f, true],
    [3, 0x0210, false],
  ])('function mask %i, source %i: includes 02:01.0 %s', (fm, source, included) => {
    const { guest, host } = running();
    guest.context(DEVICE, { root: guest.stage([0x3000, 0x600]), domain: 7 });
    guest.submit(contextDevice(5, source, fm));
    expect(host.mappings).toEqual(included ? ['3000>600'] : ['1000>800', '1001>801']);
  });

  test('a domain-selective context invalidation goes by the domain that the device had', () => {
    const { guest, host } = running();
    guest.context(DEVICE, { present: false });
    guest.submit(contextDomain(6));
    expect(host.mappings).toEqual(['1000>800', '1001>801']);
    guest.submit(contextDomain(5));
    expect(host.mappings).toEqual([]);
  });

  test('a device whose context was not present is found whatever the domain', () => {
    const { guest, host } = running();
    guest.context(DEVICE, { present: false });
    guest.submit(contextDevice(5, DEVICE));
    guest.context(DEVICE, { root: guest.stage([0x3000, 0x600]), domain: 7 });
    guest.submit(contextDomain(0));
    expect(host.mappings).toEqual(['3000>600']);
  });

  test('a global context invalidation switches every device', () => {
    const { guest, host, other } = running();
    guest.context(DEVICE, { root: guest.stage([0x3000, 0x600]), domain: 7 });
    guest.context(OTHER, { present: false });
    guest.submit(contextGlobal());
    expect([host.mappings, other.mappings]).toEqual([['3000>600'], []]);
  });

  test('a switch to pass-through and back', () => {
    const { guest, host, root } = running();
    guest.context(DEVICE, { type: 2, domain: 9 });
    guest.submit(contextDevice(5, DEVICE));
    expect(host.mappings).toEqual([]);
    expect(host.direct).toEqual([{ start: 0, end: RAM_PAGES }]);
    guest.context(DEVICE, { root, domain: 5 });
    guest.submit(contextDevice(9, DEVICE));
    expect(host.mappings).toEqual(['1000>800', '1001>801']);
    expect(host.direct).toEqual([]);
  });

  test('an IOTLB invalidation of the old domain covers a device whose context was rewritten', () => {
    const { guest, host } = running();
    guest.context(DEVICE, { root: guest.stage([0x3000, 0x600]), domain: 7 });
    guest.submit(iotlbDomain(5));
    expect(host.mappings).toEqual(['3000>600']);
  });

  test('even a page of the old domain, for the rest would be of neither', () => {
    const { guest, host } = running();
    guest.context(DEVICE, { root: guest.stage([0x3000, 0x600]), domain: 7 });
    guest.submit(iotlbPage(5, 0x1000));
    expect(host.mappings).toEqual(['3000>600']);
  });

  test('a context that becomes present counts at the latest when it is invalidated itself', () => {
    const { guest, host, root } = running();
    guest.context(DEVICE, { present: false });
    guest.submit(contextDevice(5, DEVICE));
    expect(host.mappings).toEqual([]);
    guest.context(DEVICE, { root, domain: 5 });
    guest.submit(contextDevice(0, DEVICE));
    expect(host.mappings).toEqual(['1000>800', '1001>801']);
  });

  test('a context that becomes present may count with any invalidation, as a unit may fetch it at any time', () => {
    const { guest, host, root } = running();
    guest.context(DEVICE, { present: false });
    guest.submit(contextDevice(5, DEVICE));
    guest.context(DEVICE, { root, domain: 5 });
    guest.submit(iotlbPage(7, 0x7777));
    expect(host.mappings).toEqual(['1000>800', '1001>801']);
  });

  test('without caching mode it counts at once', () => {
    const guest = new UnitGuest({ capability: { CM: false }, guestStopped: true });
    const host = new FollowingHost(guest.iommu, DEVICE);
    guest.queue();
    guest.translate();
    guest.context(DEVICE, { root: guest.stage([0x1000, 0x800]), domain: 5 });
    guest.submit(iotlbPage(5, 0x7777));
    expect(host.mappings).toEqual(['1000>800']);
  });

  test.each([
    ['global', 4n],
    ['of an index', 4n | 0x10n],
  ])('an interrupt-entry invalidation, %s, is done on a unit that reports interrupt remapping', (_, low) => {
    const guest = new UnitGuest({ capability: { IR: true } });
    guest.queue();
    guest.submit([low, 0n], wait(1));
    expect(guest.status(0)).toBe(1);
  });

  test('invalidations of a requester that nobody asked for do nothing', () => {
    const { guest, host, other } = running();
    guest.submit(contextDevice(3, 0x7777), iotlbDomain(1234), wait(1));
    expect(guest.status(0)).toBe(1);
    expect([host.takeLog(), other.takeLog()]).toEqual([[], []]);
  });

  test('many invalidations in one run of the queue look at the tables once', () => {
    const { guest, host, root } = running();
    let walks = 0;
    const walk = host.region.walk.bind(host.region);
    host.region.walk = (...all) => {
      walks++;
      walk(...all);
    };
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(iotlbGlobal(), wait(1, 1));
    const once = walks;
    guest.submit(...Array.from({ length: 100 }, (_, i) => [iotlbGlobal(), wait(i, 2)]).flat());
    expect(walks).toBeLessThanOrEqual(2 * once);
    expect([guest.status(1), guest.status(2)]).toEqual([1, 99]);
  });

  test('a switch of many requesters is one commit for each', () => {
    const { guest, host, other } = running();
    host.commits = 0;
    other.commits = 0;
    guest.command(0, 0x8000_0000);
    expect([host.commits, other.commits]).toEqual([1, 1]);
    expect([host.direct, other.direct]).toEqual([
      [{ start: 0, end: RAM_PAGES }],
      [{ start: 0, end: RAM_PAGES }],
    ]);
  });
});

describe('waiting for hosts', () => {
  test('a wait completes only when the host has confirmed', async () => {
    const { guest, host, root } = running();
    host.hold();
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(iotlbPage(5, 0x1000), wait(1));
    expect(host.mappings).toEqual(['1001>801']);
    expect(guest.status(0)).toBe(0);
    await host.confirm();
    expect(guest.status(0)).toBe(1);
    expect(guest.read(IQH)).toBe(guest.tail);
  });

  test('a notifier of the region itself is waited for too', async () => {
    const { guest, host, root } = running();
    const { barrier, resolve } = heldBarrier();
    host.region.registerNotifier({ ...host.notifier(0), barrier });
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(iotlbPage(5, 0x1000), wait(1));
    expect(guest.status(0)).toBe(0);
    resolve();
    await guest.iommu.settled();
    expect(guest.status(0)).toBe(1);
  });

  test('hosts of untouched requesters are not', () => {
    const { guest, other } = running();
    other.hold();
    guest.submit(iotlbPage(5, 0x1000), wait(1));
    expect(guest.status(0)).toBe(1);
  });

  test('descriptors that arrive meanwhile are done afterwards, in order', async () => {
    const { guest, host, root } = running();
    host.hold();
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(iotlbPage(5, 0x1000), wait(1));
    guest.leaf(root, 0x1001, 0, 0);
    guest.submit(iotlbPage(5, 0x1001), wait(2));
    expect(host.mappings).toEqual(['1001>801']);
    await host.confirm();
    expect(host.mappings).toEqual([]);
    expect(guest.status(0)).toBe(2);
  });

  test('an error behind a pending invalidation shows when that is complete', async () => {
    const { guest, host, root } = running();
    host.hold();
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(iotlbPage(5, 0x1000), wait(1), [15n, 0n]);
    expect(guest.read(FSTS)).toBe(0);
    await host.confirm();
    expect(guest.status(0)).toBe(1);
    expect(guest.read(FSTS)).toBe(IQE);
    expect(guest.read(IQH)).toBe(guest.tail - 0x10);
  });

  test('a queue that is disabled meanwhile completes what it has fetched first', async () => {
    const { guest, host, root } = running();
    host.hold();
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(iotlbPage(5, 0x1000), wait(1));
    guest.command(0, QIE);
    expect(guest.read(GSTS) & QIE).toBe(QIE);
    await host.confirm();
    expect(guest.status(0)).toBe(1);
    expect(guest.read(GSTS) & QIE).toBe(0);
  });

  test('a host that fails is reported, and the guest goes on', () => {
    const { guest, host, root } = running();
    host.fail(new Error('the host is gone'));
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(iotlbPage(5, 0x1000), wait(1));
    expect(guest.status(0)).toBe(1);
    expect(guest.events).toMatchObject([{ kind: 'sink-failed', details: { requester: '02:01.0' } }]);
  });

  test('a host whose confirmation is refused later is reported likewise', async () => {
    const { guest, host, root } = running();
    host.region.registerNotifier({
      ...host.notifier(0),
      barrier: () => Promise.reject(new Error('refused')),
    });
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(iotlbPage(5, 0x1000), wait(1));
    await guest.iommu.settled();
    expect(guest.status(0)).toBe(1);
    expect(guest.events).toMatchObject([{ kind: 'sink-failed' }]);
  });

  test('status words stay where the guest put them', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.poke(STATUS, 0, 0x1111_2222_3333_4444n);
    guest.submit(wait(5, 1));
    expect(guest.peek(STATUS, 0)).toBe(0x5_3333_4444n);
  });
});
