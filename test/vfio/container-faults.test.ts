import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Access, DenseRamBlock, RamRegion } from '../../src/memory/index.ts';
import {
  type HostStrictness,
  MemoryHostIommu,
  PlugRefusedError,
  type RefusalCause,
  type VfioContainer,
} from '../../src/vfio/index.ts';
import { type Answers, DelayedHostIommu, type Fault } from './delayed-host.ts';
import { differences, held, HIGH, HOLE, LOW, show, World } from './world.ts';

const strictnesses = fc.constantFrom<HostStrictness>('type1', 'iommufd', 'vfio-user');
const answering = fc.constantFrom<Answers>('at-once', 'later');
const accesses = fc.constantFrom<Access>(Access.Read, Access.Write, Access.ReadWrite);

/** A leaf of 4 KiB, 64 KiB or 2 MiB, onto any memory there is or is not. */
const leaves = fc
  .record({
    size: fc.constantFrom(1, 16, 512),
    slot: fc.nat(23),
    target: fc.constantFrom(LOW.start, LOW.start + 0x30, 0x200, 0x300, HIGH.start, HIGH.start + 0x200, HOLE),
    offset: fc.nat(40),
    access: accesses,
  })
  .map(({ size, slot, target, offset, access }) => ({
    iova: size === 512 ? 512 * (slot % 3) : slot * 64,
    pages: size,
    target: size === 1 ? target + offset : target,
    access,
  }));

/** How a plug, or a release, ended. */
function outcomeOf(step: Promise<unknown>): Promise<'done' | RefusalCause> {
  return step.then(
    () => 'done',
    (error: unknown) => {
      if (error instanceof PlugRefusedError) return error.refusal.cause;
      throw error;
    },
  );
}

describe('a plug whose nth call to the host fails', () => {
  test.each<[Fault, Answers]>([
    ['refuse', 'at-once'],
    ['refuse', 'later'],
    ['lose', 'at-once'],
    ['lose', 'later'],
    ['throw', 'at-once'],
  ])('gives the device all or nothing, for every n (%s, %s)', async (fault, answers) => {
    const outcomes: string[] = [];

    for (let failAt = 1; failAt <= 8; failAt++) {
      const world = new World();
      for (let i = 0; i < 5; i++) world.iommu.put(i, 1, LOW.start + i);
      const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
      const container = world.container(new DelayedHostIommu(inner, { answers, failAt, fault }));
      const outcome = await outcomeOf(container.attach());
      outcomes.push(`${outcome} ${inner.size} ${world.traceless ? 'traceless' : 'listening'}`);
    }

    // Five maps, then the barrier. A refusal there affects no operation; after it nothing more is asked.
    const refused =
      fault === 'refuse'
        ? Array<string>(5).fill('host-refused 0 traceless')
        : Array<string>(6).fill('host-lost 0 traceless');
    const plugged = Array<string>(8 - refused.length).fill('done 5 listening');
    expect(outcomes).toEqual([...refused, ...plugged]);
  });

  test('gives the device all or nothing, whatever it sees', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          translated: fc.boolean(),
          leaves: fc.array(leaves, { maxLength: 12 }),
          strictness: strictnesses,
          answers: answering,
          fault: fc.constantFrom<Fault>('refuse', 'lose', 'throw'),
          failAt: fc.integer({ min: 1, max: 24 }),
          maxMappings: fc.constantFrom(4, 1000),
          coarse: fc.boolean(),
        }),
        async ({ translated, leaves, strictness, answers, fault, failAt, maxMappings, coarse }) => {
          const world = new World({ translated });
          for (const { iova, pages, target, access } of leaves) world.iommu.put(iova, pages, target, access);
          const pageSizes = coarse ? 0x1_0000n : 0x1000n;
          const inner = new MemoryHostIommu({ strictness, maxMappings, pageSizes });
          const host = new DelayedHostIommu(inner, { answers, failAt, fault });
          const container = world.container(host);

          const outcome = await outcomeOf(container.attach());

          const plugged = outcome === 'done';
          // The call that failed may be one of those that took the plug back; then the host is said to be lost.
          const lost = outcome === 'host-lost';
          expect(plugged ? differences(world, inner) : lost || held(inner)).toEqual(lost || []);
          expect(world.traceless).toBe(!plugged);
          expect(container.state.kind).toBe(plugged ? 'attached' : 'detached');
          host.failAt = Number.POSITIVE_INFINITY;
          await container.detach();
          expect(lost || held(inner)).toEqual(lost || []);
          expect(world.traceless).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** Steps without figures; `begin ...` does not wait for what it begins. */
const BARE = [
  'switch',
  'dimm',
  'ask',
  'wait',
  'check',
  'check',
  'release',
  'begin release',
  'replug',
  'begin replug',
] as const;

type Bare = (typeof BARE)[number];

type Step =
  | { readonly do: 'map'; readonly leaf: { iova: number; pages: number; target: number; access: Access } }
  | { readonly do: 'unmap'; readonly iova: number; readonly pages: number }
  | { readonly do: Bare };

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: leaves.map((leaf): Step => ({ do: 'map', leaf })) },
  {
    weight: 3,
    arbitrary: fc
      .record({ iova: fc.nat(1535), pages: fc.constantFrom(1, 64, 600) })
      .map((range): Step => ({ do: 'unmap', ...range })),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom<Bare>(...BARE).map((what): Step => ({ do: what })),
  },
);

/** A device under test and a healthy one beside it, both behind one IOMMU, driven step by step. */
class Run {
  readonly world: World = new World();
  readonly inner: MemoryHostIommu;
  readonly host: DelayedHostIommu;
  readonly container: VfioContainer;
  readonly healthy: MemoryHostIommu = new MemoryHostIommu({ strictness: 'vfio-user' });
  /** What was not as it should be. */
  readonly wrong: string[] = [];
  readonly #dimm: RamRegion = new RamRegion('DIMM', new DenseRamBlock(0x40));
  #dimmIn = false;
  #translated = true;
  /** Plugs, unplugs and releases that were begun. */
  #underway: Promise<unknown> = Promise.resolve();

  constructor(inner: MemoryHostIommu, host: DelayedHostIommu) {
    this.inner = inner;
    this.host = host;
    this.container = this.world.container(host);
  }

  async start(): Promise<void> {
    await this.world.container(this.healthy, 'healthy').attach();
    await outcomeOf(this.container.attach());
  }

  async take(step: Step): Promise<void> {
    const { world } = this;
    switch (step.do) {
      case 'map':
        world.iommu.map(step.leaf.iova, step.leaf.pages, step.leaf.target, step.leaf.access);
        break;
      case 'unmap':
        world.iommu.unmap(step.iova, step.pages);
        break;
      case 'switch':
        this.#translated = !this.#translated;
        world.translate(this.#translated);
        break;
      case 'dimm':
        if (this.#dimmIn) world.memory.remove(this.#dimm);
        else world.memory.add(this.#dimm, HOLE);
        this.#dimmIn = !this.#dimmIn;
        break;
      case 'ask':
        void world.space.barrier();
        break;
      case 'wait':
        await new Promise((resolve) => setImmediate(resolve));
        break;
      case 'check':
        await this.check();
        break;
      case 'release':
        await this.#begin(() => outcomeOf(this.container.release()));
        break;
      case 'begin release':
        void this.#begin(() => outcomeOf(this.container.release()));
        break;
      case 'replug':
        await this.#begin(() => this.#replug());
        break;
      case 'begin replug':
        void this.#begin(() => this.#replug());
        break;
    }
  }

  #begin(step: () => Promise<unknown>): Promise<unknown> {
    this.#underway = Promise.all([this.#underway, step()]);
    return this.#underway;
  }

  #replug(): Promise<unknown> {
    return Promise.all([this.container.detach(), outcomeOf(this.container.attach())]);
  }

  /** Waits for the host and notes what is not as it should be. */
  async check(): Promise<void> {
    const { world, container, wrong } = this;
    await this.#underway;
    await world.space.barrier();
    wrong.push(...differences(world, this.healthy).map((difference) => `healthy: ${difference}`));
    const { kind } = container.state;
    if (kind === 'attached') {
      wrong.push(...differences(world, this.inner));
      return;
    }
    wrong.push(...[...container.mappings()].map((mapping) => `${kind}, with ${show(mapping)}`));
    // A lost host may hold anything; that is what it is called so for.
    const lost = world.observed('host-lost').length > 0;
    if (!lost) wrong.push(...held(this.inner).map((mapping) => `${kind}, holding ${mapping}`));
  }
}

describe('a device that is followed', () => {
  test('has what its guest mapped after every barrier, and never loses it without a reason', async () => {
    await fc.assert(
      fc.asyncProperty(
        strictnesses,
        answering,
        fc.array(steps, { maxLength: 30 }),
        async (strictness, answers, steps) => {
          const inner = new MemoryHostIommu({ strictness });
          const run = new Run(inner, new DelayedHostIommu(inner, { answers }));
          await run.start();

          for (const step of steps) await run.take(step);

          await run.check();
          expect(run.wrong).toEqual([]);
          expect(run.world.events.filter(({ kind }) => kind !== 'not-ram')).toEqual([]);
          expect(run.container.state.kind).toBe('attached');
          await run.container.detach();
          expect(inner.size).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('has all or nothing after every barrier, when any call to the host fails or the host is too small', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          strictness: strictnesses,
          answers: answering,
          maxMappings: fc.constantFrom(3, 8, 1000),
          coarse: fc.boolean(),
          fault: fc.constantFrom<Fault>('refuse', 'refuse', 'lose', 'die', 'throw'),
          failAt: fc.integer({ min: 1, max: 60 }),
          steps: fc.array(steps, { maxLength: 30 }),
        }),
        async ({ strictness, answers, maxMappings, coarse, fault, failAt, steps }) => {
          const pageSizes = coarse ? 0x1_0000n : 0x1000n;
          const inner = new MemoryHostIommu({ strictness, maxMappings, pageSizes });
          const run = new Run(inner, new DelayedHostIommu(inner, { answers, fault, failAt }));
          await run.start();

          for (const step of steps) await run.take(step);

          await run.check();
          await run.container.detach();
          expect(run.wrong).toEqual([]);
          expect(run.container.state.kind).toBe('detached');
          expect(run.world.iommu.notifiers).toHaveLength(run.world.iommu.enabled ? 1 : 0);
        },
      ),
      { numRuns: 400 },
    );
  });

  test('and was quarantined gets all back, when the cause is gone', async () => {
    await fc.assert(
      fc.asyncProperty(
        strictnesses,
        answering,
        fc.integer({ min: 1, max: 20 }),
        fc.array(steps, { minLength: 5, maxLength: 30 }),
        async (strictness, answers, failAt, steps) => {
          const inner = new MemoryHostIommu({ strictness });
          const run = new Run(inner, new DelayedHostIommu(inner, { answers, failAt }));
          await run.start();
          for (const step of steps) await run.take(step);
          await run.check();
          fc.pre(run.container.state.kind === 'quarantined');

          await run.container.release();

          expect(run.container.state.kind).toBe('attached');
          expect(differences(run.world, inner)).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });
});
