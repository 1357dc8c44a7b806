/** A guest that writes anything anywhere: nothing throws, nothing hangs, and the IOMMU can still be used. @module */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { AmdviGuest, CONTROL, DEVICE, INVALIDATE_ALL, OTHER, RAM_PAGES, wait } from './amdvi-guest.ts';
import { FollowingHost } from './following-host.ts';
import { leafText } from './observe.ts';

const OFFSETS = [
  0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x2000, 0x2008, 0x2010, 0x2018, 0x2020, 0x3ff8,
];
const anything = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
/** An address in RAM with the low bits and the length field that base registers have. */
const base = fc
  .tuple(
    fc.integer({ min: 0, max: 0x60 }),
    fc.integer({ min: 0, max: 15 }),
    fc.integer({ min: 0, max: 0xfff }),
  )
  .map(([page, length, low]) => (BigInt(length) << 56n) | BigInt(page * 4096 + low));
const command = fc
  .tuple(fc.integer({ min: 0, max: 15 }), anything, anything)
  .map(([opcode, low, high]) => [(BigInt(opcode) << 60n) | (low & 0xffff_ffff_ffffn), high] as const);

type Step =
  | { readonly kind: 'register'; offset: number; value: bigint; half: boolean }
  | { readonly kind: 'memory'; page: number; index: number; value: bigint }
  | { readonly kind: 'command'; command: readonly [bigint, bigint] }
  | { readonly kind: 'dma'; address: bigint; isWrite: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('register' as const),
    offset: fc.constantFrom(...OFFSETS),
    value: fc.oneof(anything, base, fc.bigInt({ min: 0n, max: 0x1fffn })),
    half: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('memory' as const),
    page: fc.integer({ min: 0, max: 0x60 }),
    index: fc.integer({ min: 0, max: 511 }),
    value: fc.oneof(
      anything,
      base.map((value) => value | 0x6000_0000_0000_0603n),
    ),
  }),
  fc.record({ kind: fc.constant('command' as const), command }),
  fc.record({ kind: fc.constant('dma' as const), address: anything, isWrite: fc.boolean() }),
);

function take(guest: AmdviGuest, one: Step): void {
  const space = guest.iommu.addressSpace(DEVICE);
  switch (one.kind) {
    case 'register':
      return guest.iommu.writeRegister(one.offset, one.value, one.half ? 4 : 8);
    case 'memory':
      return guest.poke(one.page, one.index, one.value);
    case 'command':
      return guest.submit(one.command);
    case 'dma':
      if (one.isWrite) dmaWrite(space, one.address, new Uint8Array(4));
      else dmaRead(space, one.address, new Uint8Array(4));
  }
}

describe('a hostile guest', () => {
  it('is put up with, and can be sane afterwards', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
        const guest = new AmdviGuest({ budget: { entries: 20_000, leaves: 2000 } });
        guest.entry(DEVICE, { root: guest.tables([0x1000, 0x800]) });
        guest.start();
        const host = new FollowingHost(guest.iommu, DEVICE);
        for (const one of steps) take(guest, one);
        expect(host.allViolations).toEqual([]);

        guest.iommu.reset();
        for (let page = 0; page <= 0x60; page++) guest.poke(page, 0, 0n);
        const root = guest.tables([0x1000, 0x800]);
        guest.entry(OTHER, { root, domain: 3 });
        guest.start();
        const sane = new FollowingHost(guest.iommu, OTHER);

        expect(sane.mappings).toEqual([leafText(0x1000, 1, 0x800, 3)]);
      }),
    );
  });

  it('may submit commands and turn the IOMMU off from inside an interrupt', () => {
    let depth = 0;
    const guest: AmdviGuest = new AmdviGuest({
      sendInterrupt: () => {
        depth++;
        if (depth < 5) guest.submit([(1n << 60n) | 2n, 0n], INVALIDATE_ALL);
        guest.write(CONTROL, 0);
      },
    });
    guest.iommu.interruptMessage = { address: 0xfee0_0000n, data: 1 };
    guest.start(0x1011);
    guest.submit([(1n << 60n) | 2n, 0n], wait(5n));

    expect(depth).toBe(1);
    expect(guest.stored()).toBe(5n);
  });

  it('may put its rings where there is no RAM and in the middle of the IOMMU', () => {
    const guest = new AmdviGuest();
    guest.memory.root.add(guest.iommu.registers, 0x3000, 1);
    guest.start();
    guest.write(0x08, (15n << 56n) | 0x300_0000n);
    guest.write(0x10, (15n << 56n) | BigInt(RAM_PAGES * 4096));
    guest.write(0x2008, 0x7_fff0n);
    dmaRead(guest.iommu.addressSpace(0x700), 0n, new Uint8Array(4));

    expect(guest.observed.map(({ kind }) => kind)).toEqual(['queue-error']);
  });
});
