import type { GuestStep, ScenarioModel } from '../scenario.ts';
import { pagesOfText } from '../text.ts';
import { type ActionStep, GuestState, rangeOf, type StepOf } from './guest-state.ts';

/** Which steps can be carried out after those before, whoever carries them out. */
export class StepRules {
  /** Read, not taken: {@link take} does that. */
  readonly state: GuestState;

  constructor(model: ScenarioModel) {
    this.state = new GuestState(model);
  }

  /** Whether `step` can be taken now. A domain must be known, a leaf whole, a plug's slot free. */
  allows(step: ActionStep): boolean {
    const { running } = this.state;
    switch (step.do) {
      case 'plug':
        return this.state.pluggedAt(step.who) === undefined;
      case 'unplug':
      case 'forget':
        return this.state.pluggedAt(step.who) === 'surely';
      case 'reset':
      case 'dma':
        return running;
      case 'boot':
        return !running;
      default:
        return running && this.#guestCan(step);
    }
  }

  /** Notes that `step`, which must be allowed, was taken. */
  take(step: ActionStep): void {
    this.state.take(step);
  }

  #guestCan(step: GuestStep): boolean {
    const isVirtio = this.state.model === 'virtio-iommu';
    switch (step.do) {
      case 'domain':
        return !this.state.knows(step.name);
      case 'attach':
        return (
          this.#canBeSilent(step) &&
          this.state.knows(step.domain) &&
          this.state.domainOf(step.who) === undefined
        );
      case 'switch': {
        const now = this.state.domainOf(step.who);
        return (
          this.#canBeSilent(step) && this.state.knows(step.domain) && now !== undefined && now !== step.domain
        );
      }
      case 'detach':
        return this.#canBeSilent(step) && this.state.domainOf(step.who) !== undefined;
      case 'map':
      case 'unmap':
        return isVirtio ? this.state.knows(step.domain) : this.#tablesAllow(step);
      case 'remap':
      case 'entry':
        return !isVirtio && this.#tablesAllow(step);
      case 'invalidate':
        return !isVirtio && this.#canInvalidate(step);
      case 'translation':
        return !isVirtio && this.state.translating !== step.on;
      case 'bypass':
      case 'restart':
        return isVirtio;
      default:
        return false;
    }
  }

  #tablesAllow(step: StepOf<'map' | 'unmap' | 'remap' | 'entry'>): boolean {
    const tables = this.state.tablesOf(step.domain);
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
        return this.state.model === 'amdvi';
      default:
        return true;
    }
  }

  /** Only a guest of AMD-Vi changes structures and says nothing. */
  #canBeSilent({ tell }: StepOf<'attach' | 'switch' | 'detach'>): boolean {
    return tell !== false || this.state.model === 'amdvi';
  }

  #hasTables(domain: string): boolean {
    return this.state.tablesOf(domain) !== undefined;
  }
}
