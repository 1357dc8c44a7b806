import { type GuestStep, NotSupported, pagesOfText, type Slot } from '../../../src/conform/index.ts';
import { DomainTables } from './domain-tables.ts';
import type { NaiveHost } from './host.ts';
import { aroundPages, EVERYTHING, type Leaf, type Pages, RAM } from './leaf.ts';
import { type NaiveIommu, requesterOf } from './naive-iommu.ts';

/** How one table IOMMU differs from another. */
export interface TableRules {
  /** Pages of leaves, descending. */
  readonly sizes: readonly number[];
  /** Pages that an invalidation of pages can name; of more, all of the domain. */
  readonly mostNamed: number;
  /** Whether the driver invalidates a domain when a requester comes to it. */
  readonly tellsOfArrival: boolean;
}

type DomainState = 'pass-through' | DomainTables;
type InvalidateStep = Extract<GuestStep, { readonly do: 'invalidate' }>;

/** A plugged device's host, and the domain that its requester was in when the IOMMU last looked. */
interface Follower {
  readonly host: NaiveHost;
  domain: string | undefined;
}

/** VT-d and AMD-Vi: tables change at once, and hosts learn of it when something is invalidated. */
export class TableIommu implements NaiveIommu {
  readonly #rules: TableRules;
  readonly #domains: Map<string, DomainState> = new Map();
  /** Domain of each requester, as the structures in memory say. */
  readonly #attached: Map<string, string> = new Map();
  readonly #firstStage: Set<string> = new Set();
  /** Requesters whose structures are no good: they reach nothing. */
  readonly #spoilt: Set<string> = new Set();
  readonly #followers: Map<Slot, Follower> = new Map();
  #translating = true;

  constructor(rules: TableRules) {
    this.#rules = rules;
  }

  plug(slot: Slot, host: NaiveHost): boolean {
    if (this.#firstStage.has(requesterOf(slot))) return false;
    const domain = this.#domainOf(slot);
    if (!host.canFollow(EVERYTHING, this.#desired(domain))) return false;
    host.follow(EVERYTHING, this.#desired(domain));
    this.#followers.set(slot, { host, domain });
    return true;
  }

  unplug(slot: Slot): void {
    this.#followers.delete(slot);
  }

  reachOf(slot: Slot): readonly Leaf[] {
    return this.#desired(this.#followers.get(slot)?.domain);
  }

  reset(): void {
    this.#domains.clear();
    this.#attached.clear();
    this.#firstStage.clear();
    this.#spoilt.clear();
    this.#translate(false);
  }

  take(step: GuestStep): string {
    switch (step.do) {
      case 'domain': {
        const state = step.kind === 'pass-through' ? step.kind : new DomainTables(this.#rules.sizes);
        this.#domains.set(step.name, state);
        break;
      }
      case 'attach':
      case 'switch':
      case 'detach':
        this.#move(step);
        break;
      case 'map':
        this.#changed(step.domain, this.#tables(step.domain).map(step));
        break;
      case 'unmap':
        this.#changed(step.domain, this.#tables(step.domain).unmap(step));
        break;
      case 'remap':
        this.#changed(step.domain, this.#tables(step.domain).remap(step));
        break;
      case 'entry':
        this.#tables(step.domain).entry(step);
        break;
      case 'invalidate':
        this.#invalidate(step);
        break;
      case 'translation':
        this.#translate(step.on);
        break;
      case 'boot':
        this.#translate(true);
        break;
      case 'first-stage':
        this.#firstStage.add(requesterOf(step.who));
        break;
      case 'spoil':
        this.#spoilt.add(requesterOf(step.who));
        break;
      case 'request':
        // Scenarios put into queues what no unit takes.
        return 'refused';
      default:
        throw new NotSupported(`an IOMMU with tables has no step '${step.do}'`);
    }
    return 'done';
  }

  #move(step: Extract<GuestStep, { readonly do: 'attach' | 'switch' | 'detach' }>): void {
    const requester = requesterOf(step.who);
    const left = this.#attached.get(requester);
    const entered = step.do === 'detach' ? undefined : step.domain;
    if ((left === undefined) !== (step.do === 'attach'))
      throw new Error(`${step.who} cannot be ${step.do}ed`);
    if (entered === undefined) this.#attached.delete(requester);
    else this.#attached.set(requester, entered);
    this.#spoilt.delete(requester);
    if (step.tell === false) return;
    this.#learn((slot) => requesterOf(slot) === requester);
    if (left !== undefined) this.#followPages(left, EVERYTHING);
    if (entered !== undefined && this.#rules.tellsOfArrival) this.#followPages(entered, EVERYTHING);
  }

  #invalidate(step: InvalidateStep): void {
    switch (step.what) {
      case 'pages':
        this.#named(step.domain, aroundPages(pagesOfText(step.iova), pagesOfText(step.size)));
        return;
      case 'domain':
        this.#followPages(step.domain, EVERYTHING);
        return;
      case 'all':
        for (const domain of this.#domains.keys()) this.#followPages(domain, EVERYTHING);
        return;
      case 'structures':
        this.#learn(() => true);
        return;
      case 'requester':
        this.#learn((slot) => requesterOf(slot) === requesterOf(step.who));
    }
  }

  #translate(on: boolean): void {
    this.#translating = on;
    this.#learn(() => true);
  }

  /** What the driver says of a change of its own. */
  #changed(domain: string, range: Pages | undefined): void {
    if (range !== undefined) this.#named(domain, aroundPages(range.start, range.end - range.start));
  }

  #named(domain: string, range: Pages): void {
    const tooMany = range.end - range.start > this.#rules.mostNamed;
    this.#followPages(domain, tooMany ? EVERYTHING : range);
  }

  /** The IOMMU looks at the structures of these slots anew, and at everything that they lead to. */
  #learn(concerns: (slot: Slot) => boolean): void {
    for (const [slot, follower] of this.#followers) {
      if (!concerns(slot)) continue;
      follower.domain = this.#domainOf(slot);
      follower.host.follow(EVERYTHING, this.#desired(follower.domain));
    }
  }

  #followPages(domain: string, range: Pages): void {
    for (const follower of this.#followers.values()) {
      if (follower.domain === domain) follower.host.follow(range, this.#desired(domain));
    }
  }

  /** What a look at the structures comes to. */
  #domainOf(slot: Slot): string | undefined {
    const requester = requesterOf(slot);
    return this.#spoilt.has(requester) ? undefined : this.#attached.get(requester);
  }

  #desired(domain: string | undefined): readonly Leaf[] {
    if (!this.#translating) return RAM;
    if (domain === undefined) return [];
    const state = this.#domains.get(domain);
    if (state === undefined) throw new Error(`there is no domain '${domain}'`);
    return state === 'pass-through' ? RAM : state.leaves;
  }

  #tables(domain: string): DomainTables {
    const state = this.#domains.get(domain);
    if (state instanceof DomainTables) return state;
    throw new Error(`'${domain}' is no domain with tables`);
  }
}
