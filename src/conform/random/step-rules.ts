import type { GuestStep, OperatorStep, Requester, ScenarioModel, Slot } from '../scenario.ts';
import { pagesOfText } from '../text.ts';
import { KnownTables, type Pages } from './known-tables.ts';

/** A step that does something. */
export type ActionStep = GuestStep | OperatorStep;

type StepOf<Do extends ActionStep['do']> = Extract<ActionStep, { readonly do: Do }>;

/** Which steps can be carried out after those before, whoever carries them out. */
export class StepRules {
  readonly #model: ScenarioModel;
  /** undefined for pass-through. */
  readonly #domains: Map<string, KnownTables | undefined> = new Map();
  readonly #attached: Map<string, string> = new Map();
  readonly #plugged: Map<Slot, 'surely' | 'perhaps'> = new Map();
  readonly #changedDomains: Set<string> = new Set();
  readonly #changedRequesters: Set<string> = new Set();
  #running = true;
  #translating = true;

  constructor(model: ScenarioModel) {
    this.#model = model;
  }

  /** What the guest has changed and not told the IOMMU. */
  get untold(): 'nothing' | 'tables' | 'structures' {
    if (this.#changedRequesters.size > 0) return 'structures';
    return this.#changedDomains.size > 0 ? 'tables' : 'nothing';
  }

  isAttached(who: Requester): boolean {
    return this.#domainOf(who) !== undefined;
  }

  /** What is mapped in a domain with tables. */
  leavesOf(domain: string): readonly Pages[] {
    return this.#domains.get(domain)?.leaves ?? [];
  }

  /** Whether `step` can be taken now. A domain must be known, a leaf whole, a plug's slot free. */
  allows(step: ActionStep): boolean {
    switch (step.do) {
      case 'plug':
        return !this.#plugged.has(step.who);
      case 'unplug':
      case 'forget':
        return this.#plugged.get(step.who) === 'surely';
      case 'reset':
        return this.#running;
      case 'boot':
        return !this.#running;
      case 'dma':
        return this.#running;
      default:
        return this.#running && this.#guestCan(step);
    }
  }

  /** Notes that `step`, which must be allowed, was taken. */
  take(step: ActionStep): void {
    switch (step.do) {
      case 'plug':
        this.#plugged.set(step.who, step.sink === undefined ? 'surely' : 'perhaps');
        return;
      case 'unplug':
        this.#plugged.delete(step.who);
        return;
      case 'reset':
        this.#running = false;
        this.#domains.clear();
        this.#attached.clear();
        this.#told();
        return;
      case 'boot':
        this.#running = true;
        this.#translating = true;
        return;
      case 'dma':
      case 'forget':
        return;
      default:
        this.#guestDid(step);
    }
  }

  #guestCan(step: GuestStep): boolean {
    const isVirtio = this.#model === 'virtio-iommu';
    switch (step.do) {
      case 'domain':
        return !this.#domains.has(step.name);
      case 'attach':
        return this.#canBeSilent(step) && this.#domains.has(step.domain) && !this.isAttached(step.who);
      case 'switch': {
        const now = this.#domainOf(step.who);
        return (
          this.#canBeSilent(step) &&
          this.#domains.has(step.domain) &&
          now !== undefined &&
          now !== step.domain
        );
      }
      case 'detach':
        return this.#canBeSilent(step) && this.isAttached(step.who);
      case 'map':
      case 'unmap':
        return isVirtio ? this.#domains.has(step.domain) : this.#tablesAllow(step);
      case 'remap':
      case 'entry':
        return !isVirtio && this.#tablesAllow(step);
      case 'invalidate':
        return !isVirtio && this.#canInvalidate(step);
      case 'translation':
        return !isVirtio && this.#translating !== step.on;
      case 'bypass':
      case 'restart':
        return isVirtio;
      default:
        return false;
    }
  }

  #tablesAllow(step: StepOf<'map' | 'unmap' | 'remap' | 'entry'>): boolean {
    const tables = this.#domains.get(step.domain);
    if (tables === undefined) return false;
    switch (step.do) {
      case 'map':
        return (
          step.leaf !== undefined &&
          tables.canMap(rangeOf(step), pagesOfText(step.leaf), pagesOfText(step.to))
        );
      case 'unmap':
        return tables.canUnmap(rangeOf(step));
      case 'remap':
        return tables.canRemap(rangeOf(step), step.to === undefined ? undefined : pagesOfText(step.to));
      case 'entry': {
        const target = step.is === 'leaf' ? pagesOfText(step.to) : 0;
        return tables.canWrite(step.level, pagesOfText(step.iova), target);
      }
    }
  }

  #canInvalidate(step: StepOf<'invalidate'>): boolean {
    switch (step.what) {
      case 'pages': {
        const { start, end } = rangeOf(step);
        const size = end - start;
        return this.#hasTables(step.domain) && Number.isInteger(Math.log2(size)) && start % size === 0;
      }
      case 'domain':
        return this.#hasTables(step.domain);
      case 'requester':
        return this.#model === 'amdvi';
      default:
        return true;
    }
  }

  #guestDid(step: GuestStep): void {
    switch (step.do) {
      case 'domain':
        this.#domains.set(step.name, step.kind === undefined ? new KnownTables(step.levels ?? 4) : undefined);
        return;
      case 'attach':
      case 'switch':
        this.#attached.set(requesterOf(step.who), step.domain);
        this.#moved(step);
        return;
      case 'detach':
        this.#attached.delete(requesterOf(step.who));
        this.#moved(step);
        return;
      case 'map':
        if (step.leaf !== undefined)
          this.#domains.get(step.domain)?.map(rangeOf(step), pagesOfText(step.leaf));
        return;
      case 'unmap':
        this.#domains.get(step.domain)?.unmap(rangeOf(step));
        return;
      case 'entry':
        this.#domains.get(step.domain)?.write(step.level, pagesOfText(step.iova), step.is);
        this.#changedDomains.add(step.domain);
        return;
      case 'invalidate':
        if (step.what === 'domain') this.#changedDomains.delete(step.domain);
        if (step.what === 'all') this.#changedDomains.clear();
        if (step.what === 'structures') this.#told();
        if (step.what === 'requester') this.#changedRequesters.delete(requesterOf(step.who));
        return;
      case 'translation':
        this.#translating = step.on;
        this.#told();
        return;
      case 'restart':
        this.#attached.clear();
        return;
      default:
    }
  }

  #told(): void {
    this.#changedDomains.clear();
    this.#changedRequesters.clear();
  }

  #moved({ who, tell }: StepOf<'attach' | 'switch' | 'detach'>): void {
    if (tell === false) this.#changedRequesters.add(requesterOf(who));
    else this.#changedRequesters.delete(requesterOf(who));
  }

  /** Only a guest of AMD-Vi changes structures and says nothing. */
  #canBeSilent({ tell }: StepOf<'attach' | 'switch' | 'detach'>): boolean {
    return tell !== false || this.#model === 'amdvi';
  }

  #hasTables(domain: string): boolean {
    return this.#domains.get(domain) !== undefined;
  }

  #domainOf(who: Requester): string | undefined {
    return this.#attached.get(requesterOf(who));
  }
}

/** Those of `steps` that can be taken, one after the other. */
export function validOf(model: ScenarioModel, steps: readonly ActionStep[]): readonly ActionStep[] {
  const rules = new StepRules(model);
  return steps.filter((step) => {
    const allowed = rules.allows(step);
    if (allowed) rules.take(step);
    return allowed;
  });
}

/** Slots behind one bridge are one requester. */
function requesterOf(who: Requester): string {
  return who === 'pci1' || who === 'pci2' ? 'bridge' : who;
}

function rangeOf(step: { readonly iova: string; readonly size: string }): Pages {
  const start = pagesOfText(step.iova);
  return { start, end: start + pagesOfText(step.size) };
}
