import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DenseRamBlock, RamRegion } from '../../../src/memory/index.ts';
import { spec } from '../../../src/models/virtio/index.ts';
import { type HostStrictness, MemoryHostIommu, type VfioContainer } from '../../../src/vfio/index.ts';
import { type Answers, DelayedHostIommu } from '../../vfio/delayed-host.ts';
import { attach, detach, Guest, map, RAM_PAGES, unmap } from './guest.ts';
import { MapRefuser } from './map-refuser.ts';
import { NaiveIommu } from './naive-iommu.ts';

const domains = fc.integer({ min: 1, max: 3 });
const endpoints = fc.integer({ min: 8, max: 10 });
/** RAM that comes and goes, at the end of the RAM that stays. */
const DIMM = { start: RAM_PAGES, end: RAM_PAGES + 8 };
const targets = fc.constantFrom(0, 0x20, DIMM.start - 4, DIMM.start, DIMM.end - 2, DIMM.end + 8);

const requests: fc.Arbitrary<spec.Request> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc
      .tuple(domains, endpoints, fc.constantFrom(0, 0, 0, spec.ATTACH_F_BYPASS))
      .map(([domain, endpoint, flags]) => attach(domain, endpoint, flags)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(domains, endpoints).map(([domain, endpoint]) => detach(domain, endpoint)),
  },
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        domains,
        fc.nat(15),
        fc.integer({ min: 1, max: 5 }),
        targets,
        fc.constantFrom(0, 1, 2, 3, 3, 3, 7),
      )
      .map(([domain, iova, pages, target, flags]) => map(domain, iova, pages, target, flags)),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(domains, fc.nat(15), fc.integer({ min: 1, max: 16 }))
      .map(([domain, iova, pages]) => unmap(domain, iova, pages)),
  },
);

type Step =
  /** With `dimm`, RAM comes or goes while hosts have yet to answer. */
  | { readonly do: 'requests'; readonly requests: spec.Request[]; readonly dimm: boolean }
  | { readonly do: 'fail'; readonly endpoint: number; readonly after: number; readonly failures: number }
  | { readonly do: 'plug' | 'unplug'; readonly endpoint: number }
  | { readonly do: 'bypass'; readonly value: number }
  | { readonly do: 'reset' | 'dimm' };

function stepsOf(faults: number): fc.Arbitrary<Step> {
  return fc.oneof(
    {
      weight: 12,
      arbitrary: fc
        .record({
          requests: fc.array(requests, { minLength: 1, maxLength: 6 }),
          dimm: fc.integer({ min: 0, max: 9 }).map((chance) => chance === 9),
        })
        .map((step): Step => ({ do: 'requests', ...step })),
    },
    {
      weight: faults,
      arbitrary: fc
        .tuple(endpoints, fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 2 }))
        .map(([endpoint, after, failures]): Step => ({ do: 'fail', endpoint, after, failures })),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.constantFrom('plug' as const, 'unplug' as const), endpoints)
        .map(([what, endpoint]): Step => ({ do: what, endpoint })),
    },
    { weight: 1, arbitrary: fc.nat(1).map((value): Step => ({ do: 'bypass', value })) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: 'reset' }) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: 'dimm' }) },
  );
}

interface Device {
  readonly inner: MemoryHostIommu;
  readonly refuser: MapRefuser;
  readonly container: VfioContainer;
}

/** A guest with devices that come and go, and the naive device beside it. */
class Run {
  readonly guest: Guest = Guest.started();
  readonly naive: NaiveIommu = new NaiveIommu(true);
  readonly devices: Map<number, Device> = new Map();
  readonly #dimm: RamRegion = new RamRegion('DIMM', new DenseRamBlock(DIMM.end - DIMM.start));
  readonly #strictness: HostStrictness;
  readonly #answers: Answers;
  readonly #maxMappings: number;
  #refusals = 0;

  constructor(strictness: HostStrictness, answers: Answers, maxMappings: number) {
    this.#strictness = strictness;
    this.#answers = answers;
    this.#maxMappings = maxMappings;
    this.#dimm.setEnabled(false);
    this.guest.system.add(this.#dimm, DIMM.start);
  }

  /** Requests that hosts refused. */
  get refusals(): number {
    return this.#refusals;
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case 'requests':
        return this.#request(step.requests, step.dimm);
      case 'fail': {
        this.devices.get(step.endpoint)?.refuser.refuse(step.after, step.failures);
        return;
      }
      case 'plug':
        return this.#plug(step.endpoint);
      case 'unplug':
        await this.devices.get(step.endpoint)?.container.detach();
        this.devices.delete(step.endpoint);
        return;
      case 'bypass':
        this.guest.iommu.device.writeConfig(spec.BYPASS_OFFSET, new Uint8Array([step.value]));
        this.naive.bypass = step.value === 1;
        await this.guest.iommu.settled();
        return;
      case 'dimm':
        this.#toggle();
        return this.#confirmed();
      case 'reset':
        await this.#reset();
    }
  }

  /** Where a host disagrees with the naive device. A device that is cut off must hold nothing. */
  differences(): string[] {
    const ram = [{ start: 0, end: RAM_PAGES }, ...(this.#dimm.enabled ? [DIMM] : [])];
    return [...this.devices].flatMap(([endpoint, { inner, container }]) => {
      const reach =
        container.state.kind === 'attached' ? this.naive.reach(endpoint, ram) : new Map<number, string>();
      const found = new Map<number, string>();
      for (const { iova, pages, target, access } of inner.mappings()) {
        for (let i = 0; i < pages; i++) found.set(iova + i, `${target + i} ${access}`);
      }
      return [...new Set([...reach.keys(), ...found.keys()])]
        .filter((page) => reach.get(page) !== found.get(page))
        .slice(0, 3)
        .map((page) => `${endpoint}: ${page}: ${found.get(page)} and not ${reach.get(page)}`);
    });
  }

  /** Hosts refuse nothing more; what was cut off is released if it fits. */
  async mend(): Promise<void> {
    for (const { refuser, container } of this.devices.values()) {
      refuser.refuse(Number.POSITIVE_INFINITY, 0);
      await container.release().catch(() => undefined);
    }
  }

  #toggle(): void {
    this.#dimm.setEnabled(!this.#dimm.enabled);
  }

  async #confirmed(): Promise<void> {
    await this.guest.memory.barrier();
    for (const endpoint of this.devices.keys()) await this.guest.iommu.addressSpace(endpoint).barrier();
  }

  async #request(list: readonly spec.Request[], dimm: boolean): Promise<void> {
    const numbers = list.map((request) => this.guest.queue(spec.encodeRequest(request), 4));
    this.guest.iommu.device.notify(spec.REQUESTQ);
    if (dimm) this.#toggle();
    await this.guest.iommu.settled();
    await this.#confirmed();
    for (const [i, request] of list.entries()) {
      const status = this.guest.reply(numbers[i])?.status;
      const refused = request.type === spec.T_MAP ? spec.S_NOMEM : spec.S_UNSUPP;
      const isRefused = status === refused;
      if (isRefused) this.#refusals++;
      expect(this.naive.do(request, isRefused)).toBe(isRefused ? spec.S_OK : status);
    }
  }

  async #plug(endpoint: number): Promise<void> {
    if (this.devices.has(endpoint)) return;
    const inner = new MemoryHostIommu({ strictness: this.#strictness, maxMappings: this.#maxMappings });
    const refuser = new MapRefuser(inner);
    const host = new DelayedHostIommu(refuser, { answers: this.#answers });
    const container = await this.guest.plug(endpoint, host).catch(() => undefined);
    if (container !== undefined) this.devices.set(endpoint, { inner, refuser, container });
  }

  async #reset(): Promise<void> {
    this.guest.iommu.device.writeStatus(0);
    await this.guest.iommu.settled();
    this.naive.domains.clear();
    this.guest.restart();
    await this.guest.iommu.settled();
  }
}

const strictnesses = fc.constantFrom<HostStrictness>('type1', 'iommufd', 'vfio-user');
const answering = fc.constantFrom<Answers>('at-once', 'later');

test('after every request hosts equal the guest, and what was refused changed nothing', async () => {
  await fc.assert(
    fc.asyncProperty(
      strictnesses,
      answering,
      fc.constantFrom(3, 8, 1000),
      fc.array(stepsOf(4), { maxLength: 30 }),
      async (strictness, answers, maxMappings, steps) => {
        const run = new Run(strictness, answers, maxMappings);
        for (const endpoint of [8, 9]) await run.step({ do: 'plug', endpoint });
        for (const step of steps) {
          await run.step(step);
          expect(run.differences()).toEqual([]);
        }
        await run.mend();
        expect(run.differences()).toEqual([]);
      },
    ),
    { numRuns: 300 },
  );
});

test('hosts that have room and never fail never refuse, and no device is cut off', async () => {
  await fc.assert(
    fc.asyncProperty(
      strictnesses,
      answering,
      fc.array(stepsOf(0), { maxLength: 30 }),
      async (strictness, answers, steps) => {
        const run = new Run(strictness, answers, 1000);
        for (const endpoint of [8, 9]) await run.step({ do: 'plug', endpoint });
        for (const step of steps) await run.step(step);

        expect(run.refusals).toBe(0);
        expect(run.differences()).toEqual([]);
        expect([...run.devices.values()].map(({ container }) => container.state.kind)).toEqual(
          [...run.devices.values()].map(() => 'attached'),
        );
      },
    ),
    { numRuns: 150 },
  );
});
