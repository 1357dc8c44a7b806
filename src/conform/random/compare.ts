/** Two drivers side by side. @module */
import type { Difference } from '../differences.ts';
import type { ScenarioDriver } from '../driver.ts';
import type { LedgerText, Scenario, ScenarioModel, Slot, Step } from '../scenario.ts';
import { type ActionStep, StepRules } from './step-rules.ts';

/**
 * When hosts are looked at.
 * - `told`: the guest has told of all that it changed, so there is one thing that they can hold.
 * - `followed`: the same, but tables may have changed. What hosts hold then depends on how much more than what was
 *   invalidated is looked at: for two drivers that go by the same rule.
 */
export type CompareWhen = 'told' | 'followed';

/**
 * Takes the steps on both drivers, and holds `driver` against `reference`: every answer, and what all hosts hold.
 * Returns the first difference. Rejects as `ScenarioDriver.take` does.
 */
export async function firstDifference(
  model: ScenarioModel,
  steps: readonly ActionStep[],
  reference: ScenarioDriver,
  driver: ScenarioDriver,
  when: CompareWhen,
): Promise<Difference | undefined> {
  const rules = new StepRules(model);
  const plugged: Set<Slot> = new Set();
  for (const [index, step] of steps.entries()) {
    rules.take(step);
    // eslint-disable-next-line no-await-in-loop -- steps follow each other
    const [expected, seen] = [await reference.take(step), await driver.take(step)];
    if (expected !== seen) return { step: index, what: 'answer', expected: [expected], seen: [seen] };
    if (step.do === 'plug' && seen === 'done') plugged.add(step.who);
    if (step.do === 'unplug') plugged.delete(step.who);
    if (rules.untold === 'structures' || (rules.untold === 'tables' && when === 'told')) continue;
    for (const slot of plugged) {
      // eslint-disable-next-line no-await-in-loop
      const found = await ledgersDiffer(index, slot, reference, driver);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** A difference as a scenario that asks for what the reference gave, to be pasted into the table. */
export function scenarioOf(
  { model, machine }: Pick<Scenario, 'model' | 'machine'>,
  steps: readonly ActionStep[],
  difference: Difference,
): Scenario {
  const [title, expected] = [difference.what, difference.expected];
  const taken: Step[] = steps.slice(0, difference.step + 1);
  const last = taken.at(-1);
  const slot = /^ledger of (.+)$/.exec(difference.what)?.[1];
  if (slot !== undefined) taken.push({ do: 'expect', ledger: { [slot]: expected } });
  else if (last !== undefined) taken.splice(-1, 1, { ...last, answer: expected.join() });
  return { id: 'random', model, title, ...(machine === undefined ? {} : { machine }), steps: taken };
}

async function ledgersDiffer(
  step: number,
  slot: Slot,
  reference: ScenarioDriver,
  driver: ScenarioDriver,
): Promise<Difference | undefined> {
  const wanted = await reference.ledger(slot);
  const text: LedgerText = same(wanted, reference.shown('RAM')) ? 'RAM' : wanted;
  const [expected, seen] = [driver.shown(text), await driver.ledger(slot)];
  return same(expected, seen) ? undefined : { step, what: `ledger of ${slot}`, expected, seen };
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i]);
}
