import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Errno } from '../../../src/vfio-user/index.ts';
import { openFakeDescriptors } from '../memory-channel.ts';
import { ReferenceType1, type Step } from './reference.ts';
import { PAGE, rig, settle, type Vmm } from './rig.ts';
import type { StrictServer } from './strict-server.ts';

const iova = fc.integer({ min: 0, max: 40 });
const pages = fc.constantFrom(1, 1, 1, 2, 4);
const file = fc.constantFrom(1, 1, 1, 2, undefined);

const map = fc
  .record({ iova, pages, file, shift: fc.constantFrom(0, 0, 0, 7), access: fc.constantFrom(3, 3, 3, 1) })
  .map(
    ({ shift, ...place }): Step => ({
      op: 'map',
      ...place,
      offset: place.file === undefined ? 0 : place.iova + shift,
    }),
  );
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: map },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('unmap' as const), iova, pages: fc.integer({ min: 1, max: 12 }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unmap-above' as const), iova }) },
  { weight: 1, arbitrary: fc.constant({ op: 'unmap-all' as const }) },
);
/** A run of ascending pages, as a replay sends them. */
const replay = fc
  .record({ iova, count: fc.integer({ min: 2, max: 12 }) })
  .map(({ iova: first, count }) =>
    Array.from(
      { length: count },
      (_, i): Step => ({ op: 'map', iova: first + i, offset: first + i, pages: 1, access: 3, file: 1 }),
    ),
  );
const burst = fc
  .array(fc.oneof({ weight: 4, arbitrary: step.map((one) => [one]) }, { weight: 1, arbitrary: replay }), {
    minLength: 1,
    maxLength: 12,
  })
  .map((parts) => parts.flat());
const bursts = fc.array(burst, { minLength: 1, maxLength: 8 });

async function send(vmm: Vmm, one: Step): Promise<number> {
  if (one.op === 'map') return vmm.map(one);
  if (one.op === 'unmap') return vmm.unmap(one.iova, one.pages);
  if (one.op === 'unmap-above')
    return vmm.unmapBytes(
      BigInt(one.iova) * PAGE,
      (1n << 64n) - BigInt(one.iova) * PAGE - (one.iova === 0 ? PAGE : 0n),
    );
  return (await vmm.unmapReply(0n, 0n, { all: true })).errno;
}

/** Page by page, what the server reaches. */
function reached(server: StrictServer): [page: number, leadsTo: string][] {
  return server
    .mappings()
    .flatMap(({ iova: start, size, offset, access, file: number }) =>
      Array.from({ length: Number(size / PAGE) }, (_, i): [number, string] => [
        Number(start / PAGE) + i,
        number === undefined
          ? `messages ${access}`
          : `file ${number} page ${Number(offset / PAGE) + i} ${access}`,
      ]),
    );
}

test.each([
  { merge: false, maxDmaMaps: 1000 },
  { merge: false, maxDmaMaps: 8 },
  { merge: true, maxDmaMaps: 1000 },
])(
  'after each burst the server reaches what the VMM asked for, no more and no less %j',
  async ({ merge, maxDmaMaps }) => {
    await fc.assert(
      fc.asyncProperty(bursts, fc.boolean(), async (script, isSlow) => {
        const { vmm, proxy, server } = rig({ maxDmaMaps, proxy: { merge } });
        await vmm.version();
        const reference = new ReferenceType1();

        for (const steps of script) {
          if (isSlow) server.hold();
          const answers = Promise.all(steps.map((one) => send(vmm, one)));
          await settle();
          server.release();
          const errnos = await answers;

          expect(errnos).toEqual(
            steps.map((one) => reference.do(one, !merge && reference.size === maxDmaMaps)),
          );
          expect(reached(server)).toEqual(reference.pages());
          expect([...proxy.mappings()].map((mapping) => Number(mapping.iova / PAGE))).toEqual(
            reference.starts(),
          );
          expect([...proxy.serverMappings()].map((mapping) => [mapping.iova, mapping.size])).toEqual(
            server.mappings().map((mapping) => [mapping.iova, mapping.size]),
          );
        }

        expect(server.refusals).toEqual([]);
        expect(server.most).toBeLessThanOrEqual(maxDmaMaps);
        proxy.close();
        await settle();
        expect(openFakeDescriptors()).toBe(0);
      }),
      { numRuns: 100 },
    );
  },
);

/** Pages that the server never maps. */
function guilty(page: bigint): boolean {
  return page % 7n === 3n;
}

test('a server that refuses some maps: what it holds is what the VMM was told, merged or not', async () => {
  await fc.assert(
    fc.asyncProperty(bursts, fc.boolean(), async (script, merge) => {
      const { vmm, proxy, server } = rig({
        proxy: { merge },
        refuse: ({ iova: start, size }) => {
          for (let at = start; at < start + size; at += PAGE) if (guilty(at / PAGE)) return Errno.EACCES;
          return undefined;
        },
      });

      for (const steps of script) {
        await Promise.all(steps.map((one) => send(vmm, one)));

        const known = [...proxy.mappings()].flatMap((mapping) =>
          Array.from({ length: Number(mapping.size / PAGE) }, (_, i) => Number(mapping.iova / PAGE) + i),
        );
        expect(reached(server).map(([page]) => page)).toEqual(known);
        expect(known.filter((page) => guilty(BigInt(page)))).toEqual([]);
      }

      proxy.close();
      await settle();
      expect(openFakeDescriptors()).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test('a merging proxy before a small server either keeps its word or ends', async () => {
  const ends: string[] = [];
  await fc.assert(
    fc.asyncProperty(bursts, async (script) => {
      const { vmm, proxy, server } = rig({ maxDmaMaps: 4, proxy: { merge: true } });
      await vmm.version();
      const reference = new ReferenceType1();

      for (const steps of script) {
        const errnos = await Promise.all(steps.map((one) => send(vmm, one))).catch(() => undefined);
        if (errnos === undefined) {
          ends.push((await proxy.closed).message);
          break;
        }
        expect(errnos).toEqual(steps.map((one, i) => reference.do(one, errnos[i] === Errno.ENOSPC)));
        expect(reached(server)).toEqual(reference.pages());
      }

      expect([server.refusals, server.most <= 4]).toEqual([[], true]);
      proxy.close();
      await settle();
      expect(openFakeDescriptors()).toBe(0);
    }),
    { numRuns: 100 },
  );
  expect(ends.length).toBeGreaterThan(0);
  expect(ends.filter((message) => !message.includes('too few to take a merged mapping apart'))).toEqual([]);
});
