/**
 * Guests that rewrite entries and tables at random and invalidate what they changed, followed by strict hosts: after
 * every COMPLETION_WAIT a host holds what the reference finds in the tables, and no more was told than had changed.
 *
 * @module
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AmdviGuest,
  type Command,
  CONTROL,
  DEVICE,
  INVALIDATE_ALL,
  invalidateDomain,
  invalidateEntry,
  invalidatePage,
  invalidatePages,
  OTHER,
  RUNNING,
  wait,
} from './amdvi-guest.ts';
import { FollowingHost } from './following-host.ts';
import { leafText } from './observe.ts';

const SLOTS = 64;
const BASE = 0x1000;
const DEVICES = [DEVICE, OTHER];

/** One step of the guest, with the invalidation that it owes. */
type Step =
  | { readonly step: 'map'; domain: number; slot: number; log: number; target: number; access: number }
  | { readonly step: 'entry'; device: number; domain: number; access: number; valid: boolean }
  | { readonly step: 'again' }
  | { readonly step: 'power'; on: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      step: fc.constant('map' as const),
      domain: fc.integer({ min: 0, max: 1 }),
      slot: fc.integer({ min: 0, max: SLOTS - 1 }),
      log: fc.integer({ min: 0, max: 4 }),
      target: fc.integer({ min: 0, max: 255 }),
      access: fc.integer({ min: 0, max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      step: fc.constant('entry' as const),
      device: fc.integer({ min: 0, max: 1 }),
      domain: fc.integer({ min: 0, max: 1 }),
      access: fc.integer({ min: 0, max: 3 }),
      valid: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ step: 'again' as const }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('power' as const), on: fc.boolean() }) },
);

interface Leaf {
  readonly pages: number;
  readonly target: number;
  readonly access: number;
}

interface Entry {
  domain: number;
  access: number;
  valid: boolean;
}

/** The guest, and what it should have led to: a list of leaves a domain, an entry a device. */
class Run {
  readonly guest = new AmdviGuest();
  readonly hosts: FollowingHost[];
  readonly #roots: number[];
  readonly #leaves: Map<number, Leaf>[] = [new Map(), new Map()];
  readonly #entries: Entry[] = [
    { domain: 0, access: 3, valid: true },
    { domain: 1, access: 3, valid: true },
  ];
  #on = true;
  #waits = 0n;

  constructor() {
    this.#roots = [this.guest.table(), this.guest.table()];
    this.#writeEntry(0);
    this.#writeEntry(1);
    this.guest.start();
    this.hosts = DEVICES.map((device) => new FollowingHost(this.guest.iommu, device));
  }

  take(step: Step): void {
    switch (step.step) {
      case 'map':
        return this.#map(step);
      case 'entry':
        this.#entries[step.device] = { domain: step.domain, access: step.access, valid: step.valid };
        this.#writeEntry(step.device);
        return this.#submit(invalidateEntry(DEVICES[step.device]));
      case 'again':
        return this.#submit(
          ...DEVICES.map(invalidateEntry),
          invalidateDomain(1),
          invalidateDomain(2),
          INVALIDATE_ALL,
        );
      case 'power':
        this.#on = step.on;
        this.guest.write(CONTROL, step.on ? RUNNING : 0);
    }
  }

  /** What each host should hold, and whether its device should see RAM. */
  get expected(): { readonly mappings: string[]; readonly direct: boolean }[] {
    return this.#entries.map(({ domain, access, valid }) => {
      if (!this.#on || !valid) return { mappings: [], direct: true };
      const leaves = [...this.#leaves[domain]].sort(([a], [b]) => a - b);
      const allowed = leaves.filter(([, leaf]) => (leaf.access & access) !== 0);
      const mappings = allowed.map(([iova, leaf]) =>
        leafText(iova, leaf.pages, leaf.target, leaf.access & access),
      );
      return { mappings, direct: false };
    });
  }

  get seen(): { readonly mappings: string[]; readonly direct: boolean }[] {
    return this.hosts.map((host) => ({ mappings: host.mappings, direct: host.direct.size > 0 }));
  }

  /** Replaces whatever the slots of the new page held. */
  #map({ domain, slot, log, target, access }: Extract<Step, { step: 'map' }>): void {
    const pages = 2 ** log;
    const iova = BASE + Math.floor(slot / pages) * pages;
    let [start, end] = [iova, iova + pages];
    for (const [at, leaf] of this.#leaves[domain]) {
      if (at >= iova + pages || at + leaf.pages <= iova) continue;
      this.guest.map(this.#roots[domain], 3, at, leaf.pages, 0, 0);
      this.#leaves[domain].delete(at);
      start = Math.min(start, at);
      end = Math.max(end, at + leaf.pages);
    }
    const to = Math.floor((0x800 + target) / pages) * pages;
    this.guest.map(this.#roots[domain], 3, iova, pages, to, access);
    if (access !== 0) this.#leaves[domain].set(iova, { pages, target: to, access });
    const wide = end - start;
    this.#submit(wide === 1 ? invalidatePage(domain + 1, start) : invalidatePages(domain + 1, start, wide));
  }

  #writeEntry(device: number): void {
    const { domain, access, valid } = this.#entries[device];
    this.guest.entry(DEVICES[device], {
      v: valid,
      root: this.#roots[domain],
      domain: domain + 1,
      access,
    });
  }

  #submit(...commands: readonly Command[]): void {
    if (!this.#on) return;
    this.#waits++;
    this.guest.submit(...commands, wait(this.#waits));
    expect(this.guest.stored()).toBe(this.#waits);
  }
}

describe('random guests', () => {
  it('are followed exactly', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        const run = new Run();
        for (const one of steps) {
          run.take(one);
          expect(run.seen).toEqual(run.expected);
        }
        expect(run.hosts.flatMap((host) => host.allViolations)).toEqual([]);
        expect(run.hosts.flatMap((host) => host.refused)).toEqual([]);
      }),
    );
  });

  it('that invalidate everything though nothing changed send nothing', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const run = new Run();
        for (const one of steps) run.take(one);
        run.take({ step: 'power', on: true });
        for (const host of run.hosts) host.takeLog();

        run.take({ step: 'again' });
        run.guest.start();

        expect(run.hosts.flatMap((host) => host.takeLog())).toEqual([]);
      }),
    );
  });
});
