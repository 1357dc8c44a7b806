import type { MachineOptions, ScenarioModel, Slot } from '../scenario.ts';
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
  readonly hides?: (slot: Slot, state: GuestState) => boolean;
  /** From such a step on `slot` is not compared until one that settles it. */
  readonly disturbs?: (step: ActionStep, slot: Slot, state: GuestState) => boolean;
  readonly settles?: (step: ActionStep, slot: Slot, state: GuestState) => boolean;
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

const SLOTS: readonly Slot[] = ['nic', 'disk', 'pci1', 'pci2'];

/** Steps that keep clear of known departures, and slots that they let one compare. */
export class ComparableSteps {
  readonly #rules: StepRules;
  readonly #departures: readonly KnownDeparture[];
  readonly #disturbed: Map<KnownDeparture, Set<Slot>> = new Map();

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
      const slots = this.#disturbed.get(departure) ?? new Set();
      this.#disturbed.set(departure, slots);
      for (const slot of SLOTS) {
        if (disturbs(step, slot, this.state)) slots.add(slot);
        else if (isGone(step, slot) || settles?.(step, slot, this.state) === true) slots.delete(slot);
      }
    }
  }

  /** What has to follow `step`, which was taken. */
  remedies(step: ActionStep): readonly ActionStep[] {
    return this.#departures.flatMap(({ remedy }) => remedy?.(step, this.state) ?? []);
  }

  /** Whether nothing that is known is in the way of comparing what the host at `slot` holds. */
  shows(slot: Slot): boolean {
    return this.#departures.every(
      (departure) =>
        departure.hides?.(slot, this.state) !== true && this.#disturbed.get(departure)?.has(slot) !== true,
    );
  }
}

function isGone(step: ActionStep, slot: Slot): boolean {
  return step.do === 'unplug' && step.who === slot;
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
