import { lookupRequest } from '../../../src/models/vtd/index.ts';
import { hullOf, NaiveDomain, type NaiveLeaf, type Span } from '../naive/domain.ts';
import type { NaiveView } from '../naive/world.ts';
import { CAPABILITY } from '../scenario-machine.ts';
import { contextEntry, pasidCacheInvalidation, pasidTableEntry } from './entries.ts';
import type { HostJudge } from './host-judge.ts';
import { EVERY_PAGE, pageAt, targetOf } from './layout.ts';
import type { Domain, RunState } from './state.ts';
import type { Place, Step } from './steps.ts';

/** 1 GiB in pages of 4 KiB would show nothing that 4 MiB do not. */
const MOST_PAGES = 1024;

/** What a guest does with its driver: each operation is told to the reference first, for hosts hear of it meanwhile. */
export class GuestSteps {
  readonly #state: RunState;
  readonly #judge: HostJudge;

  constructor(state: RunState, judge: HostJudge) {
    this.#state = state;
    this.#judge = judge;
  }

  map(step: Step & { do: 'map' }): void {
    const { driver } = this.#state;
    const domain = this.#state.domain(step.domain);
    const { vtd, naive } = domain;
    const start = pageAt(step.place, vtd.end);
    const target = targetOf(step.target, start);
    const huge = step.pages > MOST_PAGES && (start % step.pages !== 0 || target % step.pages !== 0);
    const range = { start, end: Math.min(start + (huge ? MOST_PAGES : step.pages), vtd.end) };
    if (naive.rawWithin(range).length > 0) return;
    naive.put(leavesFor(range, target, step.access), this.#state.step);
    const result = driver.map(vtd, start, range.end - start, target, step.access);
    this.#done(result, [domain], this.#covered(range));
  }

  /** Leaves that the range would cut go whole. */
  unmap(step: Step & { do: 'unmap' }): void {
    const { driver, start: how } = this.#state;
    const domain = this.#state.domain(step.domain);
    const { vtd, naive } = domain;
    const start = pageAt(step.place, vtd.end);
    const end = Math.min(start + step.pages, vtd.end);
    const hull = hullOf(naive.rawWithin({ start, end }));
    const range = { start: Math.min(start, hull?.start ?? start), end: Math.max(end, hull?.end ?? end) };
    naive.replace(range, [], this.#state.step);
    const result = driver.unmap(vtd, range.start, range.end - range.start);
    if (how.invalidation === 'lazy' || hull === undefined) this.#done(result, [], EVERY_PAGE);
    else this.#done(result, [domain], this.#covered(hull));
  }

  remap(step: Step & { do: 'remap' }): void {
    const domain = this.#state.domain(step.domain);
    const { vtd, naive } = domain;
    const leaf = naive.rawAt(pageAt(step.place, vtd.end));
    if (leaf === undefined || leaf.bad === true) return;
    const { iova, pages } = leaf;
    const target =
      step.target === undefined ? undefined : Math.floor(targetOf(step.target, iova) / pages) * pages;
    naive.put([{ ...leaf, target: target ?? leaf.target, access: step.access }], this.#state.step);
    const result = this.#state.driver.remap(vtd, iova, pages, step.access, target);
    this.#done(result, [domain], this.#covered({ start: iova, end: iova + pages }));
  }

  /** Invalidates a range of a domain, or all of it where the unit cannot name the range. */
  invalidate(domain: Domain, range: Span): void {
    const { driver, start } = this.#state;
    const { id } = domain.vtd;
    const am = Math.log2(range.end - range.start);
    if (start.PSI && Number.isInteger(am) && am <= CAPABILITY.MAMV) {
      this.#done(driver.invalidateIotlb({ domain: id, iova: range.start, am }), [domain], range);
    } else {
      this.#done(driver.invalidateIotlb({ domain: id }), [domain], EVERY_PAGE);
    }
  }

  /** The 2^`am` pages around `page`. */
  invalidatePages(domain: Domain, page: number, am: number): void {
    const start = Math.floor(page / 2 ** am) * 2 ** am;
    this.invalidate(domain, { start, end: start + 2 ** am });
  }

  invalidatePlace(domain: Domain, place: Place, am: number): void {
    this.invalidatePages(domain, pageAt(place, domain.vtd.end), am);
  }

  /** A part of one of the ranges that were written behind the driver's back. */
  invalidateWithin({ domain: index, range: at, part, am }: Step & { do: 'invalidate-within' }): void {
    const domain = this.#state.domain(index);
    const range = domain.raw[at % domain.raw.length];
    if (range === undefined) return;
    this.invalidatePages(domain, range.start + Math.floor(((range.end - range.start) * part) / 1000), am);
  }

  invalidateAll(): void {
    this.#done(this.#state.driver.invalidateIotlb('global'), this.#state.domains, EVERY_PAGE);
  }

  /** Of one requester or of all; the contents of no domain are invalidated by it. */
  invalidateContext(index: number | undefined): void {
    const { driver, domains, world } = this.#state;
    if (index === undefined) {
      this.#done(driver.invalidateContext('global'), [], EVERY_PAGE);
      return;
    }
    const requester = this.#state.requester(index);
    const view = world.attached(requester);
    const domain = domains.find(({ naive }) => naive === view)?.vtd.id ?? 0;
    this.#done(driver.invalidateContext({ domain, requester }), [], EVERY_PAGE);
  }

  flush(): void {
    const stale = this.#state.domains.filter(({ vtd }) => vtd.stale);
    this.#done(this.#state.driver.flush(), stale, EVERY_PAGE);
  }

  /** Structures and contents, as after a new root table. */
  async invalidateEverything(): Promise<void> {
    const { driver, domains, world, step } = this.#state;
    this.#done(driver.invalidateContext('global'), [], EVERY_PAGE);
    if (this.#state.start.mode === 'scalable') driver.submit(pasidCacheInvalidation());
    await driver.invalidateIotlb('global');
    for (const { naive } of domains) naive.confirm(EVERY_PAGE, step);
    world.confirmStructures(step);
    this.#judge.holdings('after everything was invalidated');
  }

  async attach(index: number, to: number): Promise<void> {
    const { driver, world, step, start, domains } = this.#state;
    const requester = this.#state.requester(index);
    const before = world.attached(requester);
    const after = this.#view(to);
    if (before === after) return;
    const vtd = domains[to]?.vtd ?? driver.passThroughDomain();
    world.attach(requester, after, step);
    if (before === 'nothing') await driver.attachDevice(requester, vtd);
    else if (after === 'nothing') await driver.detachDevice(requester);
    else await driver.switchDomain(requester, vtd);
    world.confirm(step);
    // The domain that was left is invalidated; in legacy mode the one that is entered, too.
    if (before instanceof NaiveDomain) before.confirm(EVERY_PAGE, step);
    if (after instanceof NaiveDomain && start.mode === 'legacy') after.confirm(EVERY_PAGE, step);
    this.#judge.holdings('after a domain switch');
  }

  /** Writes the entry that says how a requester is translated, where there is one already. */
  attachSilently(index: number, to: number): void {
    const { driver, iommu, world, step, start, domains } = this.#state;
    const requester = this.#state.requester(index);
    const after = this.#view(to);
    if (after === world.attached(requester) || !world.translating) return;
    const scalable = start.mode === 'scalable';
    const domain = after === 'memory' ? driver.passThroughDomain() : domains[to]?.vtd;
    const words = scalable ? pasidTableEntry(domain) : contextEntry(domain);
    const wanted = scalable ? 'PASID-table entry' : 'context entry';
    lookupRequest(iommu, requester, undefined, ({ structure, table, offset }) => {
      if (structure !== wanted) return;
      world.attach(requester, after, step, true);
      for (let i = 0; i < words.length; i += 2) {
        driver.writeEntry(table, offset / 8 + i / 2, words[i] ?? 0, words[i + 1] ?? 0);
      }
    });
  }

  async setTranslation(on: boolean): Promise<void> {
    const { driver, world, step } = this.#state;
    if (on === world.translating) return;
    world.setTranslating(on, step);
    await driver.setTranslation(on);
    world.confirm(step);
    this.#judge.holdings(`after translation was turned ${on ? 'on' : 'off'}`);
  }

  /** A domain that nobody is attached to gives way to a new one, which gets its identifier. */
  async replaceDomain(index: number, levels: 3 | 4 | 5): Promise<void> {
    const { driver, world, requesters, domains } = this.#state;
    const { vtd, naive } = this.#state.domain(index);
    if (requesters.some((requester) => world.attached(requester) === naive)) return;
    driver.freeDomain(vtd);
    domains[index % domains.length] = await this.createDomain(levels);
  }

  /** A domain with tables on the way to every place, so that there is something to edit. */
  async createDomain(levels: 3 | 4 | 5): Promise<Domain> {
    const { driver } = this.#state;
    const vtd = driver.createDomain({ levels });
    for (let window = 0; window < 4; window++) {
      for (let slot = 0; slot < 4; slot += window === 3 ? 2 : 1) {
        const page = pageAt({ window, slot, page: 0 }, vtd.end);
        await driver.map(vtd, page, 1, 0, 3);
        await driver.unmap(vtd, page, 1);
      }
    }
    return { vtd, naive: new NaiveDomain(levels), raw: [] };
  }

  #view(to: number): NaiveView {
    return this.#state.domains[to]?.naive ?? (to === 3 ? 'memory' : 'nothing');
  }

  /** Waits at the next barrier. What was done to `domains` until now is confirmed in `range` when `result` is there. */
  #done(result: void | Promise<void>, domains: readonly Domain[], range: Span): void {
    const { step, pending } = this.#state;
    const naive = domains.map((domain) => domain.naive);
    const confirmed = (): void => {
      for (const domain of naive) domain.confirm(range, step);
      this.#judge.holdings(`when what step ${step} did was confirmed`);
    };
    if (result === undefined) confirmed();
    else pending.push(result.then(confirmed));
  }

  /** What the driver invalidates for a change of `range`. */
  #covered({ start, end }: Span): Span {
    let size = 1;
    while (Math.floor(start / size) !== Math.floor((end - 1) / size)) size *= 2;
    if (!this.#state.start.PSI || size > 2 ** CAPABILITY.MAMV) return EVERY_PAGE;
    const first = Math.floor(start / size) * size;
    return { start: first, end: first + size };
  }
}

/** Which leaves the driver writes for a range: the largest that fit. */
function leavesFor({ start, end }: Span, target: number, access: number): NaiveLeaf[] {
  const leaves: NaiveLeaf[] = [];
  for (let iova = start; iova < end; ) {
    const to = target + (iova - start);
    const fits = (size: number): boolean => iova % size === 0 && to % size === 0 && iova + size <= end;
    const pages = [512 * 512, 512].find(fits) ?? 1;
    leaves.push({ iova, pages, target: to, access });
    iova += pages;
  }
  return leaves;
}
