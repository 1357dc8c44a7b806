import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dmaWrite } from '../../../src/memory/index.ts';
import type { Capability } from '../../../src/models/vtd/index.ts';
import {
  CCMD,
  contextDevice,
  contextGlobal,
  FECTL,
  FRCD,
  FSTS,
  GCMD,
  ICS,
  IECTL,
  IOTLB,
  IQA,
  IQE,
  IQH,
  IQT,
  iotlbGlobal,
  iotlbPage,
  IVA,
  PMEN,
  QUEUE,
  ROOT,
  RTADDR,
  SCALABLE,
  UnitGuest,
  wait,
} from './unit-guest.ts';
import { FollowingHost } from './unit-host.ts';

const DEVICES = [0x0000, 0x0001, 0x0208];
const OFFSETS = [
  GCMD,
  RTADDR,
  CCMD,
  FSTS,
  FECTL,
  PMEN,
  IQH,
  IQT,
  IQA,
  ICS,
  IECTL,
  IOTLB,
  IVA,
  FRCD,
  FRCD + 8,
];

type Step =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: number; readonly value: bigint }
  | { readonly kind: 'poke'; readonly page: number; readonly index: number; readonly value: bigint }
  | { readonly kind: 'dma'; readonly device: number; readonly address: bigint; readonly pasid: number }
  | { readonly kind: 'hold' | 'confirm' | 'reset' };

/** Mostly addresses and entries that lead somewhere: pure noise is turned away at the first check. */
const word = fc.oneof(
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.integer({ min: 0, max: 0x50 }), fc.integer({ min: 0, max: 0xfff }))
      .map(([page, low]) => (BigInt(page) << 12n) | BigInt(low)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }))
      .map(([type, g, domain]) => BigInt(type | (g << 4) | (domain << 16))),
  },
);

const command = fc
  .subarray([31, 30, 27, 26, 25, 24, 23])
  .map((bits) => bits.reduce((value, bit) => value | (1n << BigInt(bit)), 0n));

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      offset: fc.oneof(
        { weight: 4, arbitrary: fc.constantFrom(...OFFSETS) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xff0 }) },
      ),
      bytes: fc.constantFrom(4, 8, 4, 8, 1, 2, 3, 16),
      value: word,
    }),
  },
  {
    weight: 3,
    arbitrary: command.map((value) => ({ kind: 'write' as const, offset: GCMD, bytes: 4, value })),
  },
  {
    weight: 2,
    arbitrary: fc
      .integer({ min: 0, max: 255 })
      .map((n) => ({ kind: 'write' as const, offset: IQT, bytes: 8, value: BigInt(n * 16) })),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('poke' as const),
      page: fc.constantFrom(ROOT, 0x20, 0x21, 0x22, QUEUE, 0x30),
      index: fc.integer({ min: 0, max: 24 }),
      value: word,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('dma' as const),
      device: fc.constantFrom(...DEVICES),
      address: word,
      pasid: fc.integer({ min: 0, max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom({ kind: 'hold' as const }, { kind: 'confirm' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'reset' as const }) },
);

/** A guest's write of any size, through system memory. */
function mmio(guest: UnitGuest, offset: number, value: bigint, bytes: number): void {
  const data = new Uint8Array(bytes);
  for (let i = 0; i < Math.min(8, bytes); i++) data[i] = Number((value >> BigInt(8 * i)) & 0xffn);
  dmaWrite(guest.guest.space, 0xfed9_0000n + BigInt(offset), data);
}

const UNITS: readonly Partial<Capability>[] = [
  { RWBF: true, NFR: 2, PLMR: true, PHMR: true },
  { ...SCALABLE, IR: true, NFR: 1 },
  { CM: false, ESRTPS: false, PSI: false },
];

describe('whatever a guest writes', () => {
  test.each(UNITS.map((capability, i) => [i, capability] as const))(
    'unit %i neither throws nor hangs, and settles',
    async (_, capability) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
          const guest = new UnitGuest({ capability, budget: { entries: 20_000, leaves: 2_000 } });
          guest.guest.root.add(guest.iommu.registers, 0xfed90, 1);
          const hosts = DEVICES.map((device) => new FollowingHost(guest.iommu, device));
          for (const one of steps) {
            if (one.kind === 'write') mmio(guest, one.offset, one.value, one.bytes);
            else if (one.kind === 'poke') guest.poke(one.page, one.index, one.value);
            else if (one.kind === 'dma')
              dmaWrite(guest.iommu.addressSpace(one.device), one.address, new Uint8Array(4), one.pasid);
            else if (one.kind === 'reset') guest.iommu.reset();
            else for (const host of hosts) if (one.kind === 'hold') host.hold();
            if (one.kind === 'confirm') await Promise.all(hosts.map((host) => host.confirm()));
          }
          await Promise.all(hosts.map((host) => host.confirm()));
          expect(guest.iommu.settled()).toBeUndefined();
          expect(guest.read(IQH) % 16).toBe(0);
          expect(guest.read(CCMD + 4) >>> 31).toBe(0);
          expect(guest.read(IOTLB + 4) >>> 31).toBe(0);
          expect(guest.events.filter(({ kind }) => kind === 'sink-failed')).toEqual([]);
          // The unit has not come to rest in a state that it cannot leave.
          guest.iommu.reset();
          guest.queue({ page: 0x70 });
          expect(guest.read(0x1c)).toBe(capability.QI === false ? 0 : 0x0400_0000);
        }),
        { numRuns: 150 },
      );
    },
  );
});

describe('bounds', () => {
  test('a queue full of global invalidations and waits walks the tables of each requester a few times', () => {
    const guest = new UnitGuest();
    guest.context(0x0208, { root: guest.stage([0x1000, 0x800]), domain: 5 });
    guest.queue({ qs: 3 });
    guest.translate();
    const host = new FollowingHost(guest.iommu, 0x0208);
    let walks = 0;
    const walk = host.region.walk.bind(host.region);
    host.region.walk = (...all) => {
      walks++;
      walk(...all);
    };
    const rounds = Array.from({ length: 500 }, (_, i) => [
      contextGlobal(),
      iotlbGlobal(),
      iotlbPage(5, i),
      wait(i),
    ]).flat();
    guest.submit(...rounds);
    expect(guest.status(0)).toBe(499);
    expect(walks).toBeLessThanOrEqual(10);
  });

  test('pages far apart are followed as one range when there are too many', () => {
    const guest = new UnitGuest();
    const root = guest.stage([0x1000, 0x800]);
    guest.context(0x0208, { root, domain: 5 });
    guest.queue({ qs: 1 });
    guest.translate();
    const host = new FollowingHost(guest.iommu, 0x0208);
    let walks = 0;
    const walk = host.region.walk.bind(host.region);
    host.region.walk = (...all) => {
      walks++;
      walk(...all);
    };
    guest.leaf(root, 0x1000, 0, 0);
    guest.leaf(root, 0x2000, 0x801);
    guest.submit(...Array.from({ length: 400 }, (_, i) => iotlbPage(5, i * 0x100)), wait(1));
    expect(host.mappings).toEqual(['2000>801']);
    expect(walks).toBeLessThanOrEqual(10);
  });

  test('writes that arrive while a host is pending do not pile up', async () => {
    const guest = new UnitGuest();
    guest.context(0x0208, { root: guest.stage([0x1000, 0x800]), domain: 5 });
    guest.queue();
    guest.translate();
    const host = new FollowingHost(guest.iommu, 0x0208);
    host.hold();
    let barriers = 0;
    const barrier = host.barrier.bind(host);
    host.barrier = () => {
      barriers++;
      return barrier();
    };
    guest.submit(contextDevice(5, 0x0208), wait(1));
    for (let i = 0; i < 1000; i++) {
      guest.write(GCMD, i % 2 === 0 ? 0x0400_0000 : 0x8400_0000);
      guest.write(IQT, 0x20);
    }
    expect(barriers).toBe(1);
    await host.confirm();
    expect(barriers).toBeLessThanOrEqual(3);
    expect(guest.read(0x1c)).toBe(0xc400_0000);
  });

  test('invalidations of 65,536 requesters', () => {
    const guest = new UnitGuest({ iotlb: false });
    const root = guest.stage([0x1000, 0x800]);
    guest.context(0x0208, { root, domain: 5 });
    const host = new FollowingHost(guest.iommu, 0x0208);
    for (let requester = 0; requester < 0x1_0000; requester += 16) guest.iommu.addressSpace(requester);
    guest.queue();
    guest.translate();
    guest.leaf(root, 0x1000, 0, 0);
    guest.submit(contextGlobal(), iotlbGlobal(), wait(1));
    expect(guest.status(0)).toBe(1);
    expect(host.mappings).toEqual([]);
  });

  test('a queue of nothing but errors stops at each', () => {
    const guest = new UnitGuest();
    guest.queue();
    guest.submit([15n, 0n], [15n, 0n]);
    for (let i = 0; i < 10; i++) guest.write(FSTS, IQE);
    expect(guest.read(IQH)).toBe(0);
    expect(guest.events).toHaveLength(11);
  });
});
