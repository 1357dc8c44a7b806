import type { GuestStep, OperatorStep, Requester, ScenarioModel, Slot } from '../scenario.ts';
import { pagesOfText } from '../text.ts';
import { inside, KnownTables, type Pages } from './known-tables.ts';

/** A step that does something. */
export type ActionStep = GuestStep | OperatorStep;

/** Steps of one kind. */
export type StepOf<Do extends ActionStep['do']> = Extract<ActionStep, { readonly do: Do }>;

/** What is known of a guest and of what is plugged, whoever carries the steps out. */
export class GuestState {
  readonly model: ScenarioModel;
  /** undefined for pass-through. */
  readonly #domains: Map<string, KnownTables | undefined> = new Map();
  readonly #attached: Map<string, string> = new Map();
  readonly #plugged: Map<Slot, 'surely' | 'perhaps'> = new Map();
  readonly #changedRequesters: Set<string> = new Set();
  /** Requesters that were plugged once: to a virtio IOMMU others are no endpoints. */
  readonly #known: Set<string> = new Set(['edu']);
  #running = true;
  #translating = true;

  constructor(model: ScenarioModel) {
    this.model = model;
  }

  /** Between a reset and the next boot there is no guest. */
  get running(): boolean {
    return this.#running;
  }

  get translating(): boolean {
    return this.#translating;
  }

  /** The domain of `who`, whether the IOMMU was told or not. */
  domainOf(who: Requester): string | undefined {
    return this.#attached.get(requesterOf(who));
  }

  knows(domain: string): boolean {
    return this.#domains.has(domain);
  }

  /** Whether there is a domain that passes through. */
  get passesThrough(): boolean {
    return [...this.#domains.values()].includes(undefined);
  }

  /** undefined for a domain that passes through, or that there is not. */
  tablesOf(domain: string | undefined): KnownTables | undefined {
    return domain === undefined ? undefined : this.#domains.get(domain);
  }

  /** `perhaps` where the host's limits decide. */
  pluggedAt(slot: Slot): 'surely' | 'perhaps' | undefined {
    return this.#plugged.get(slot);
  }

  /** Slots with a device. */
  get plugged(): readonly Slot[] {
    return [...this.#plugged.keys()];
  }

  /** Whether hosts of `who`'s devices may hold anything. */
  isPlugged(who: Requester): boolean {
    return [...this.#plugged.keys()].some((slot) => requesterOf(slot) === requesterOf(who));
  }

  /** Whether a device of `who` was ever plugged, or is there all the time. */
  isKnown(who: Requester): boolean {
    return this.#known.has(requesterOf(who));
  }

  /** Whether a plugged device is in `domain`. */
  isFollowed(domain: string): boolean {
    return [...this.#plugged.keys()].some((slot) => this.domainOf(slot) === domain);
  }

  /** What the guest has changed for `who` and not told the IOMMU. */
  untoldTo(who: Requester): 'nothing' | 'tables' | 'structures' {
    if (this.#changedRequesters.has(requesterOf(who))) return 'structures';
    return this.tablesOf(this.domainOf(who))?.isTold === false ? 'tables' : 'nothing';
  }

  /** Notes that `step` was taken. */
  take(step: ActionStep): void {
    switch (step.do) {
      case 'plug':
        this.#plugged.set(step.who, step.sink === undefined ? 'surely' : 'perhaps');
        this.#known.add(requesterOf(step.who));
        return;
      case 'unplug':
        this.#plugged.delete(step.who);
        return;
      case 'reset':
        this.#running = false;
        this.#domains.clear();
        this.#attached.clear();
        this.#changedRequesters.clear();
        return;
      case 'boot':
        this.#running = true;
        this.#translating = true;
        return;
      case 'domain':
        this.#domains.set(step.name, step.kind === undefined ? new KnownTables(step.levels ?? 4) : undefined);
        return;
      case 'attach':
      case 'switch':
      case 'detach':
        this.#moved(step);
        return;
      case 'invalidate':
        this.#invalidated(step);
        return;
      case 'translation':
        this.#translating = step.on;
        this.#tellAll();
        return;
      case 'restart':
        this.#attached.clear();
        this.#endDomains();
        return;
      default:
        this.#tablesChanged(step);
    }
  }

  #tablesChanged(step: ActionStep): void {
    switch (step.do) {
      case 'map':
        if (this.#accepts(step)) this.tablesOf(step.domain)?.map(rangeOf(step), leafPagesOf(step));
        this.#tell(step.domain, rangeOf(step));
        return;
      case 'unmap':
        if (this.#accepts(step)) this.tablesOf(step.domain)?.unmap(rangeOf(step));
        this.#tell(step.domain, rangeOf(step));
        return;
      case 'remap':
        this.tablesOf(step.domain)?.remap(rangeOf(step));
        this.#tell(step.domain, rangeOf(step));
        return;
      case 'entry':
        this.tablesOf(step.domain)?.write(step.level, pagesOfText(step.iova), step.is);
        return;
      default:
    }
  }

  #invalidated(step: StepOf<'invalidate'>): void {
    switch (step.what) {
      case 'pages':
        this.#tell(step.domain, rangeOf(step));
        return;
      case 'domain':
        this.#tell(step.domain);
        return;
      case 'requester':
        if (this.#listens) this.#changedRequesters.delete(requesterOf(step.who));
        return;
      case 'all':
        for (const domain of this.#domains.keys()) this.#tell(domain);
        return;
      case 'structures':
        if (this.#listens) this.#tellAll();
    }
  }

  /** An AMD-Vi unit that is off fetches no commands. */
  get #listens(): boolean {
    return this.model !== 'amdvi' || this.#translating;
  }

  #tell(domain: string, range?: Pages): void {
    if (this.#listens) this.tablesOf(domain)?.tell(range);
  }

  #tellAll(): void {
    for (const tables of this.#domains.values()) tables?.tell();
    this.#changedRequesters.clear();
  }

  #moved(step: StepOf<'attach' | 'switch' | 'detach'>): void {
    const requester = requesterOf(step.who);
    if (step.do === 'detach') this.#attached.delete(requester);
    else if (this.model !== 'virtio-iommu' || this.#known.has(requester))
      this.#attached.set(requester, step.domain);
    if (step.tell === false || !this.#listens) this.#changedRequesters.add(requester);
    else this.#changedRequesters.delete(requester);
    this.#endDomains();
  }

  /** A domain of a virtio IOMMU ends with its last endpoint. */
  #endDomains(): void {
    if (this.model !== 'virtio-iommu') return;
    for (const [name, tables] of this.#domains) {
      if (tables !== undefined && !this.#hasEndpoints(name))
        this.#domains.set(name, new KnownTables(TOP_LEVEL));
    }
  }

  #hasEndpoints(domain: string): boolean {
    return [...this.#attached.values()].includes(domain);
  }

  /** Whether the IOMMU, not the driver alone, has the request carried out. */
  #accepts(step: StepOf<'map' | 'unmap'>): boolean {
    if (this.model !== 'virtio-iommu') return true;
    const range = rangeOf(step);
    const held = this.tablesOf(step.domain)?.held(range) ?? [];
    if (step.do === 'unmap') return held.every((mapping) => inside(mapping, range));
    return this.#hasEndpoints(step.domain) && held.length === 0;
  }
}

/** Levels of tables, where there are none. */
const TOP_LEVEL = 4;

/** A mapping of a virtio IOMMU is one, whatever its size. */
function leafPagesOf({ leaf, size }: StepOf<'map'>): number {
  return pagesOfText(leaf ?? size);
}

/** Slots behind one bridge are one requester. */
export function requesterOf(who: Requester): string {
  return who === 'pci1' || who === 'pci2' ? 'bridge' : who;
}

/** The pages that a step names. */
export function rangeOf(step: { readonly iova: string; readonly size: string }): Pages {
  const start = pagesOfText(step.iova);
  return { start, end: start + pagesOfText(step.size) };
}
