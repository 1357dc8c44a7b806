/** Random steps that a guest and an operator can take. @module */
import type { AccessText, Requester, SinkLimits, Slot } from '../scenario.ts';
import { pagesText, pageText } from '../text.ts';
import type { ActionStep, GuestState } from './guest-state.ts';
import { ComparableSteps, type StepContext } from './known-departure.ts';
import { Prng } from './prng.ts';

/** Kinds of steps, by what they are about; some are of one model only. */
export type StepKind =
  | 'domain'
  | 'move'
  | 'silent-move'
  | 'map'
  | 'unmap'
  | 'remap'
  | 'entry'
  | 'invalidate-pages'
  | 'invalidate-all'
  | 'translation'
  | 'plug'
  | 'limited-plug'
  | 'reset'
  | 'bypass'
  | 'dma';

/** What to generate. */
export interface RandomOptions extends StepContext {
  /** How many steps. */
  readonly steps: number;
  /** Kinds to leave out. */
  readonly without?: ReadonlySet<StepKind>;
  /** false: nothing is mapped around the interrupt range. */
  readonly aroundInterrupts?: false;
}

const WEIGHTS: readonly (readonly [kind: StepKind, weight: number])[] = [
  ['domain', 1],
  ['move', 4],
  ['silent-move', 1],
  ['map', 12],
  ['unmap', 4],
  ['remap', 4],
  ['entry', 10],
  ['invalidate-pages', 4],
  ['invalidate-all', 3],
  ['translation', 1],
  ['plug', 3],
  ['limited-plug', 1],
  ['reset', 1],
  ['bypass', 1],
  ['dma', 3],
];

const DOMAINS = ['a', 'b', 'c'] as const;
const SLOTS: readonly Slot[] = ['nic', 'disk', 'pci1', 'pci2'];
const REQUESTERS: readonly Requester[] = [...SLOTS, 'edu'];
const ACCESSES: readonly AccessText[] = ['rw', 'rw', 'r', 'w'];
const LARGE = 512;
/** Pages of a leaf that stands in several entries (AMD-Vi 2.2.3). */
const SIZED = 4;
const HUGE = LARGE ** 2;
/**
 * Pages at which mappings begin: two large pages side by side; those before and with the interrupt range; the last before
 * 4 GiB, and at the end of three and of four levels.
 */
const WINDOWS = [0, LARGE] as const;
const WINDOWS_EVERYWHERE = [
  ...WINDOWS,
  ...WINDOWS,
  0xf_ec00,
  0xf_ee00,
  0xf_fe00,
  HUGE * LARGE - LARGE,
  HUGE * LARGE ** 2 - LARGE,
] as const;
/** The same of the largest leaves, one of which has the interrupt range in it. */
const HUGE_WINDOWS = [0x4_0000, 0x8_0000, 0xc_0000, 0x10_0000] as const;
/** Pages that mappings lead to: RAM above and below, and none. */
const TARGETS = [0x10_0000, 0x10_0000, 0x10_0000, 0x6_0000, 0x9_0000] as const;
/** A bit beyond the host address width in an entry of VT-d that allows reading and writing. */
const RESERVED_BITS = '0x8000100001003';
/** Without it, chance takes long to plug a device into a domain that has mappings. */
const USUAL_BEGINNING: readonly ActionStep[] = [
  { do: 'domain', name: 'a', levels: 3 },
  { do: 'domain', name: 'b', levels: 3 },
  { do: 'attach', who: 'nic', domain: 'a' },
  { do: 'attach', who: 'pci1', domain: 'b' },
  { do: 'plug', who: 'nic' },
];
/** The same where only what was plugged once can be attached. */
const USUAL_BEGINNING_WITH_ENDPOINTS: readonly ActionStep[] = [
  { do: 'domain', name: 'a' },
  { do: 'domain', name: 'b' },
  { do: 'plug', who: 'nic' },
  { do: 'plug', who: 'pci1' },
  { do: 'attach', who: 'nic', domain: 'a' },
  { do: 'attach', who: 'pci1', domain: 'b' },
];
/** Proposals that may be turned down before there are as many steps as there will be. */
const PATIENCE = 50;

/** Steps from a seed, every one allowed by {@link ComparableSteps}, with those that remedy known departures. */
export function randomSteps(seed: number, options: RandomOptions): ActionStep[] {
  const prng = new Prng(seed);
  const rules = new ComparableSteps(options);
  const proposer = new Proposer(prng, rules.state, options);
  const steps: ActionStep[] = [];
  const add = (step: ActionStep | undefined): void => {
    if (step === undefined || steps.length === options.steps || !rules.allows(step)) return;
    rules.take(step);
    steps.push(step);
    for (const remedy of rules.remedies(step)) add(remedy);
  };
  const beginning = options.model === 'virtio-iommu' ? USUAL_BEGINNING_WITH_ENDPOINTS : USUAL_BEGINNING;
  if (!prng.oneIn(4)) for (const step of beginning) add(step);
  for (let tries = 0; steps.length < options.steps && tries < options.steps * PATIENCE; tries++) {
    add(proposer.propose());
  }
  return steps;
}

/** Proposes steps of which some can be taken. */
class Proposer {
  readonly #state: GuestState;
  readonly #prng: Prng;
  readonly #options: RandomOptions;
  readonly #weights: readonly (readonly [kind: StepKind, weight: number])[];
  readonly #windows: readonly number[];
  /** Where an entry was last to be written. */
  #written: { readonly domain: string; readonly page: number } = { domain: DOMAINS[0], page: 0 };

  constructor(prng: Prng, state: GuestState, options: RandomOptions) {
    this.#state = state;
    this.#prng = prng;
    this.#options = options;
    this.#windows = options.aroundInterrupts === false ? WINDOWS : WINDOWS_EVERYWHERE;
    this.#weights = WEIGHTS.filter(([kind]) => options.without?.has(kind) !== true);
  }

  propose(): ActionStep | undefined {
    const prng = this.#prng;
    const domain = prng.pick(DOMAINS);
    // Little is to be seen while nothing is translated.
    if (!this.#state.translating && prng.oneIn(8)) return { do: 'translation', on: true };
    switch (prng.weighted(this.#weights)) {
      case 'domain':
        return this.#domain(domain);
      case 'move':
        return this.#move(domain, {});
      case 'silent-move':
        return this.#move(domain, { tell: false });
      case 'map':
        return this.#map(domain);
      case 'unmap':
        return this.#unmap(domain);
      case 'remap':
        return this.#remap(domain);
      case 'entry':
        return this.#entry(domain);
      case 'invalidate-pages': {
        const size = prng.pick([1, 1, 4, LARGE]);
        const place = prng.oneIn(2) ? this.#written : { domain, page: this.#page() };
        const iova = Math.floor(place.page / size) * size;
        return {
          do: 'invalidate',
          what: 'pages',
          domain: place.domain,
          iova: pageText(iova),
          size: pagesText(size),
        };
      }
      case 'invalidate-all':
        return this.#invalidateAll(domain);
      case 'translation':
        return { do: 'translation', on: !this.#state.translating };
      case 'plug':
        return { do: prng.pick(['plug', 'plug', 'unplug'] as const), who: prng.pick(SLOTS) };
      case 'limited-plug':
        return { do: 'plug', who: prng.pick(SLOTS), sink: this.#limits() };
      case 'reset':
        return { do: prng.oneIn(8) ? 'reset' : 'boot' };
      case 'bypass':
        return prng.oneIn(4) ? { do: 'restart' } : { do: 'bypass', on: prng.oneIn(2) };
      case 'dma':
        return { do: 'dma', access: prng.pick(['r', 'w'] as const), iova: pageText(this.#page()) };
    }
  }

  get #isVirtio(): boolean {
    return this.#options.model === 'virtio-iommu';
  }

  #domain(name: string): ActionStep {
    if (this.#prng.oneIn(5)) return { do: 'domain', name, kind: 'pass-through' };
    return this.#options.machine?.awBits === 39 ? { do: 'domain', name, levels: 3 } : { do: 'domain', name };
  }

  #move(domain: string, told: { readonly tell?: false }): ActionStep {
    const who = this.#prng.pick(REQUESTERS);
    if (this.#state.domainOf(who) === undefined) return { do: 'attach', who, domain, ...told };
    return this.#prng.oneIn(3) ? { do: 'detach', who, ...told } : { do: 'switch', who, domain, ...told };
  }

  #map(domain: string): ActionStep {
    const prng = this.#prng;
    if (prng.oneIn(12) && this.#options.aroundInterrupts !== false) return this.#mapHuge(domain);
    const leaf = prng.pick(this.#options.model === 'amdvi' ? [1, 1, SIZED, LARGE] : [1, 1, 1, LARGE]);
    const pages = leaf * (1 + prng.below(leaf === 1 ? 8 : 2));
    const iova = leaf === 1 ? this.#page() : prng.pick(this.#windows) + (prng.pick([0, leaf]) % LARGE);
    return {
      do: 'map',
      domain,
      iova: pageText(iova),
      size: pagesText(pages),
      to: this.#target(leaf),
      access: prng.pick(ACCESSES),
      ...(this.#isVirtio ? {} : { leaf: pagesText(leaf) }),
    };
  }

  #mapHuge(domain: string): ActionStep {
    const [iova, size] = [pageText(this.#prng.pick(HUGE_WINDOWS)), pagesText(HUGE)];
    const to = pageText(this.#prng.pick([TARGETS[0], TARGETS[0] + HUGE]));
    const leaf = this.#isVirtio ? {} : { leaf: size };
    return { do: 'map', domain, iova, size, to, access: this.#prng.pick(ACCESSES), ...leaf };
  }

  #unmap(domain: string): ActionStep | undefined {
    const range = this.#mapped(domain);
    return range && { do: 'unmap', domain, ...range };
  }

  #remap(domain: string): ActionStep | undefined {
    const range = this.#mapped(domain);
    const to = this.#prng.oneIn(2) ? { to: this.#target(this.#prng.pick([1, LARGE])) } : {};
    return range && { do: 'remap', domain, ...range, ...to, access: this.#prng.pick(ACCESSES) };
  }

  /** From the beginning of a leaf to the end of one; anything where leaves are not known. */
  #mapped(domain: string): { readonly iova: string; readonly size: string } | undefined {
    const prng = this.#prng;
    const leaves = this.#state.tablesOf(domain)?.leaves ?? [];
    if (this.#isVirtio) return { iova: pageText(this.#page()), size: pagesText(prng.pick([1, 2, 8, LARGE])) };
    if (leaves.length === 0) return undefined;
    const first = prng.pick(leaves);
    const near = leaves.filter(({ start }) => start >= first.start && start < first.start + LARGE);
    const last = prng.oneIn(2) ? first : prng.pick(near);
    return { iova: pageText(first.start), size: pagesText(last.end - first.start) };
  }

  #entry(domain: string): ActionStep {
    const prng = this.#prng;
    const level = prng.pick([1, 1, 1, 2, 2, 3]);
    const pages = LARGE ** (level - 1);
    const page = this.#page();
    const iova = pageText(Math.floor(page / pages) * pages);
    const place = { do: 'entry', domain, level, iova } as const;
    this.#written = { domain, page };
    const kinds = ['nothing', 'leaf', 'leaf', ...(level > 1 ? ['table' as const] : [])] as const;
    const is = prng.pick(kinds);
    if (this.#options.model === 'vtd' && level === 1 && prng.oneIn(8))
      return { ...place, is: 'raw', bits: RESERVED_BITS };
    if (is !== 'leaf') return { ...place, is };
    return { ...place, is, to: this.#target(pages), access: prng.pick(ACCESSES) };
  }

  #invalidateAll(domain: string): ActionStep {
    const prng = this.#prng;
    const what = prng.pick(['domain', 'domain', 'domain', 'all', 'structures', 'requester'] as const);
    if (what === 'domain') return { do: 'invalidate', what, domain };
    if (what === 'requester') return { do: 'invalidate', what, who: prng.pick(SLOTS) };
    return { do: 'invalidate', what };
  }

  /** Limits, half of them wide enough for what mostly is there. */
  #limits(): SinkLimits {
    const prng = this.#prng;
    return prng.oneIn(3)
      ? { end: pageText(prng.pick([LARGE, 0xf_ee00, 0x18_0000])) }
      : { maxMappings: prng.pick([2, 4, 8, 16]) };
  }

  /** Pages at the beginning of a window, and at the end of the large page there. */
  #page(): number {
    return this.#prng.pick(this.#windows) + this.#prng.pick([0, LARGE - 8]) + this.#prng.below(8);
  }

  #target(aligned: number): string {
    return pageText(this.#prng.pick(TARGETS) + this.#prng.below(8) * aligned);
  }
}
