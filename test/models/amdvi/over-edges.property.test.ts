/**
 * Leaves of every size around what no table translates, the interrupt range and an exclusion range: they reach into the
 * ranges of two or three notifiers, and the guest invalidates one page of each, wherever that lies.
 *
 * @module
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { PageRange } from '../../../src/memory/index.ts';
import {
  AmdviGuest,
  DEVICE,
  EXCLUSION_BASE,
  EXCLUSION_LIMIT,
  invalidatePage,
  RAM_PAGES,
  wait,
} from './amdvi-guest.ts';
import { FollowingHost } from './following-host.ts';
import { leafText } from './observe.ts';

const EXCLUDED: PageRange = { start: 0x3ff0, end: 0x3ff8 };
/** What notifiers follow. */
const FOLLOWED: readonly PageRange[] = [
  { start: 0, end: EXCLUDED.start },
  { start: EXCLUDED.end, end: 0xfee00 },
  { start: 0xfef00, end: 2 ** 52 },
];

/** Pages at the edges of the two ranges, within them and near to them. */
const page = fc.oneof(
  fc.constantFrom(0x3fef, 0x3ff0, 0x3ff7, 0x3ff8, 0xfedff, 0xfee00, 0xfeeff, 0xfef00),
  fc.integer({ min: 0x3fe0, max: 0x400f }),
  fc.integer({ min: 0xfec00, max: 0xfefff }),
);

/** A leaf that takes the place of whatever is there, or that is taken away with it. */
interface Step {
  readonly page: number;
  readonly log: number;
  readonly target: number;
  readonly isMapped: boolean;
  /** Which page of each leaf that comes or goes is invalidated. */
  readonly named: readonly number[];
  readonly together: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  page,
  log: fc.constantFrom(0, 3, 4, 7, 8, 9, 10, 12, 14, 18, 20, 21, 27),
  target: fc.integer({ min: 0, max: 0x2fff }),
  isMapped: fc.boolean(),
  named: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
  together: fc.boolean(),
});

interface Leaf {
  readonly pages: number;
  readonly target: number;
}

/** The guest, and the leaves in its tables. */
class Run {
  readonly guest = new AmdviGuest();
  readonly host: FollowingHost;
  readonly #root: number = this.guest.table();
  readonly #leaves: Map<number, Leaf> = new Map();

  constructor() {
    this.guest.entry(DEVICE, { root: this.#root, mode: 4, ex: true });
    this.guest.write(EXCLUSION_LIMIT, (EXCLUDED.end - 1) * 4096);
    this.guest.write(EXCLUSION_BASE, EXCLUDED.start * 4096 + 1);
    this.guest.start();
    this.host = new FollowingHost(this.guest.iommu, DEVICE);
  }

  take({ page, log, target, isMapped, named, together }: Step): void {
    const pages = 2 ** log;
    const iova = Math.floor(page / pages) * pages;
    const changed: PageRange[] = [];
    for (const [start, leaf] of this.#leaves) {
      if (start >= iova + pages || start + leaf.pages <= iova) continue;
      this.guest.map(this.#root, 4, start, leaf.pages, 0, 0);
      this.#leaves.delete(start);
      changed.push({ start, end: start + leaf.pages });
    }
    if (isMapped) {
      const leaf = { pages, target: Math.floor(target / pages) * pages };
      this.guest.map(this.#root, 4, iova, pages, leaf.target);
      this.#leaves.set(iova, leaf);
      changed.push({ start: iova, end: iova + pages });
    }
    const commands = changed.map(({ start, end }, i) =>
      invalidatePage(1, start + ((named[i % named.length] ?? 0) % (end - start))),
    );
    if (together) this.guest.submit(...commands, wait(1n));
    else for (const command of commands) this.guest.submit(command);
  }

  /** What the host should hold. */
  get expected(): string[] {
    const ascending = [...this.#leaves].sort(([a], [b]) => a - b);
    return ascending.flatMap(([iova, { pages, target }]) =>
      FOLLOWED.flatMap((range) => {
        const start = Math.max(iova, range.start);
        const end = Math.min(iova + pages, range.end);
        return start < end ? pieces(start, end, target + start - iova) : [];
      }),
    );
  }
}

/** A mapping, cut where RAM ends. */
function pieces(start: number, end: number, target: number): string[] {
  const ram = Math.min(end, Math.max(start, start + RAM_PAGES - target));
  return [
    ...(ram > start ? [leafText(start, ram - start, target, 3)] : []),
    ...(end > ram ? [`${leafText(ram, end - ram, target + ram - start, 3)}!`] : []),
  ];
}

it('an invalidation of any page of a leaf is one of all of it, on whatever side of a gap', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 15 }), (steps) => {
      const run = new Run();
      for (const one of steps) {
        run.take(one);
        expect(run.host.mappings).toEqual(run.expected);
      }
      expect(run.host.allViolations).toEqual([]);
    }),
    { numRuns: 100 },
  );
});
