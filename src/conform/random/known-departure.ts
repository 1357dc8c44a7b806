import type { MachineOptions, Requester, ScenarioModel } from '../scenario.ts';
import { type ActionStep, type GuestState } from './guest-state.ts';
import { StepRules } from './step-rules.ts';

/**
 * What a VMM is known to get wrong, and how random steps keep clear of it, so that everything else can be compared. A
 * state is always that after the steps so far; `step` is the next one where it is excluded, and the last one elsewhere.
 */
export interface KnownDeparture {
  /** Its finding in the scenario table, or `none` where two machines differ by right. */
  readonly finding: string;
  /** What is left out, or added, and why: one line. */
  readonly why: string;
  readonly model: ScenarioModel;
  /** Kinds of VT-d tables that it is about; all when left out. */
  readonly mode?: MachineOptions['mode'];
  /** A step that is not taken. */
  readonly excludes?: (step: ActionStep, state: GuestState) => boolean;
  /** What is not compared as long as things are so. */
  readonly hides?: (who: Requester, state: GuestState) => boolean;
  /** From such a step on `who` is not compared until one that settles it. */
  readonly disturbs?: (step: ActionStep, who: Requester, state: GuestState) => boolean;
  readonly settles?: (step: ActionStep, who: Requester, state: GuestState) => boolean;
  /** What of a fault, as `faults` of a scenario has it, is compared. */
  readonly blurs?: (fault: string) => string;
  /** What a guest does right after, to settle it. */
  readonly remedy?: (step: ActionStep, state: GuestState) => readonly ActionStep[];
}

/** What steps are about: the model, and the departures of who takes them. */
export interface StepContext {
  readonly model: ScenarioModel;
  readonly machine?: MachineOptions;
  /** None when left out. */
  readonly departures?: readonly KnownDeparture[];
}

const REQUESTERS: readonly Requester[] = ['nic', 'disk', 'pci1', 'pci2', 'edu'];

/** Steps that keep clear of known departures, and requesters that they let one compare. */
export class ComparableSteps {
  readonly #rules: StepRules;
  readonly #departures: readonly KnownDeparture[];
  readonly #disturbed: Map<KnownDeparture, Set<Requester>> = new Map();

  constructor({ model, machine, departures = [] }: StepContext) {
    this.#rules = new StepRules(model);
    this.#departures = departures.filter(
      (one) => one.model === model && (one.mode === undefined || one.mode === (machine?.mode ?? 'legacy')),
    );
  }

  get state(): GuestState {
    return this.#rules.state;
  }

  allows(step: ActionStep): boolean {
    return (
      this.#rules.allows(step) &&
      !this.#departures.some(({ excludes }) => excludes?.(step, this.state) === true)
    );
  }

  /** Notes that `step` was taken. */
  take(step: ActionStep): void {
    this.#rules.take(step);
    for (const departure of this.#departures) {
      const { disturbs, settles } = departure;
      if (disturbs === undefined) continue;
      const disturbed = this.#disturbed.get(departure) ?? new Set();
      this.#disturbed.set(departure, disturbed);
      for (const who of REQUESTERS) {
        if (disturbs(step, who, this.state)) disturbed.add(who);
        else if (isGone(step, who) || settles?.(step, who, this.state) === true) disturbed.delete(who);
      }
    }
  }

  /** What has to follow `step`, which was taken. */
  remedies(step: ActionStep): readonly ActionStep[] {
    return this.#departures.flatMap(({ remedy }) => remedy?.(step, this.state) ?? []);
  }

  /** Whether nothing that is known is in the way of comparing what `who` can reach. */
  shows(who: Requester): boolean {
    return this.#departures.every(
      (departure) =>
        departure.hides?.(who, this.state) !== true && this.#disturbed.get(departure)?.has(who) !== true,
    );
  }

  /** What of a fault is compared. */
  blurred(fault: string): string {
    return this.#departures.reduce((text, { blurs }) => blurs?.(text) ?? text, fault);
  }
}

function isGone(step: ActionStep, who: Requester): boolean {
  return step.do === 'unplug' && step.who === who;
}

/** Those of `steps` that can be taken, one after the other. */
export function validOf(context: StepContext, steps: readonly ActionStep[]): readonly ActionStep[] {
  const rules = new ComparableSteps(context);
  return steps.filter((step) => {
    const allowed = rules.allows(step);
    if (allowed) rules.take(step);
    return allowed;
  });
}
