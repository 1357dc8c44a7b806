/**
 * Whatever a guest does by the book, QEMU's sink and the host under our own model hold the same; half of the sinks are
 * strict and behind the proxy. What QEMU is known to
 * do wrong does not come up here: see `qemu-differs`.
 *
 * @module
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { GIB1, MIB2 } from './harness/edits.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { HIGH } from '../../src/qemu/index.ts';
import { DOMAINS, type GuestStep, Lockstep } from './harness/lockstep.ts';
import { ProxyInFront } from './harness/proxied.ts';
import { QemuMachine } from './harness/qemu-machine.ts';
import { Sink } from './harness/sink.ts';

const DEFAULT_RUNS = 12;
/** VIOMMU_RUNS multiplies how many random guests are tried. */
const RUNS = Math.ceil(DEFAULT_RUNS * Number(process.env['VIOMMU_RUNS'] ?? 1));

const domain = fc.nat(DOMAINS - 1);
const access = fc.constantFrom(Access.ReadWrite, Access.Read, Access.Write);

/** Single pages: around 0, below and in the interrupt range, at 4 GiB, at the end of 48 bits. */
const pageWindow = fc.constantFrom(0, 0x1fc, 0xf_edf8, 0xf_fffc, 2 ** 36 - 16);
/** Large leaves, where the interrupt range is not. */
const largeWindow = fc.constantFrom(0x4_0000, 0x8_0000, 0x10_0000);

const smallRange = fc
  .tuple(pageWindow, fc.nat(7), fc.integer({ min: 1, max: 8 }))
  .map(([window, at, pages]) => ({
    iova: window + at,
    pages,
  }));
const target = fc.nat(0x100).map((at) => HIGH + at);

const small: fc.Arbitrary<GuestStep> = fc
  .record({ domain, range: smallRange, target, access })
  .map(({ range, ...rest }) => ({ do: 'map', ...range, ...rest, leafPages: 1 }));
const large: fc.Arbitrary<GuestStep> = fc
  .record({ domain, window: largeWindow, slot: fc.nat(3), size: fc.constantFrom(MIB2, MIB2, GIB1), access })
  .map(({ window, slot, size, ...rest }) => ({
    do: 'map',
    iova: size === GIB1 ? window : window + slot * MIB2,
    pages: size,
    leafPages: size,
    target: size === GIB1 ? HIGH : HIGH + slot * MIB2,
    ...rest,
  }));
const range = fc.oneof(
  { weight: 3, arbitrary: smallRange },
  { weight: 1, arbitrary: largeWindow.map((iova) => ({ iova, pages: MIB2 })) },
  { weight: 1, arbitrary: largeWindow.map((iova) => ({ iova, pages: GIB1 })) },
);

const step = fc.oneof<fc.MaybeWeightedArbitrary<GuestStep>[]>(
  { weight: 6, arbitrary: small },
  { weight: 2, arbitrary: large },
  {
    weight: 4,
    arbitrary: fc.record({ domain, range }).map((it) => ({ do: 'unmap', ...it.range, domain: it.domain })),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({ domain, range: smallRange, target, access })
      .map(({ range: { iova, pages }, ...rest }) => ({ do: 'remap', iova, pages, ...rest })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({ domain, range: smallRange, am: fc.constantFrom(0, 3, 9) })
      .map(({ domain: of, range: { iova }, am }) => ({ do: 'invalidate-pages', domain: of, iova, am })),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('invalidate-domain' as const), domain }) },
  { weight: 1, arbitrary: fc.constant({ do: 'invalidate-all' }) },
  { weight: 1, arbitrary: fc.constant({ do: 'invalidate-context' }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('switch' as const), domain }) },
  { weight: 1, arbitrary: fc.constant({ do: 'reattach' }) },
  { weight: 1, arbitrary: fc.constant({ do: 'translation-off-and-on' }) },
);

describeQemu('random guests, legacy mode', () => {
  test(
    'after every step QEMU and our model have mapped the same',
    async () => {
      let mappings = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.oneof(small, large), { minLength: 1, maxLength: 6 }),
          fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }),
          fc.boolean(),
          async (before, steps, proxied) => {
            const qemu = await QemuMachine.start();
            try {
              const sink = await Sink.serve({ unmap: proxied ? 'exact' : 'contained' });
              const { socket } = proxied ? await ProxyInFront.of(sink) : sink;
              const lockstep = await Lockstep.start(qemu, sink, socket, before);
              for (const one of [undefined, ...steps]) {
                if (one !== undefined) await lockstep.take(one);
                const { qemu: held, model } = lockstep.ledgers;
                expect({ step: one, held }).toEqual({ step: one, held: model });
                mappings += held.length;
              }
              expect(lockstep.refusals).toBe(0);
            } finally {
              await qemu.kill();
            }
          },
        ),
        { numRuns: RUNS },
      );
      expect(mappings).toBeGreaterThan(RUNS * 10);
    },
    10_000 * RUNS,
  );
});
