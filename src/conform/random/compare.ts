/** Two drivers side by side. @module */
import type { Difference } from '../differences.ts';
import { DriverEnded, type ScenarioDriver } from '../driver.ts';
import type { LedgerText, Scenario, Slot, Step } from '../scenario.ts';
import type { ActionStep } from './guest-state.ts';
import { ComparableSteps, type StepContext } from './known-departure.ts';

/**
 * When a host is looked at.
 * - `told`: the guest has told of all that it changed in the host's domain, so there is one thing that it can hold.
 * - `followed`: the same, but tables may have changed. What hosts hold then depends on how much more than what was
 *   invalidated is looked at: for two drivers that go by the same rule.
 */
export type CompareWhen = 'told' | 'followed';

/** What is compared. */
export interface CompareOptions extends StepContext {
  readonly when: CompareWhen;
}

/** What came of steps that two drivers took. */
export interface SideBySide {
  /** Steps that both took. */
  readonly taken: number;
  /** How often something was compared: what a host holds, or what faults a DMA access led to. */
  readonly compared: number;
  /** The first difference, after which nothing more was done. */
  readonly difference?: RandomDifference;
}

/** A difference between two drivers. */
export interface RandomDifference extends Difference {
  /** What `reference` gave, as a scenario asks for it; `expected` is what `driver` shows of that. */
  readonly asked: LedgerText;
}

/**
 * Takes the steps on both drivers, and holds `driver` against `reference`: every answer, the faults of every DMA access,
 * and what all hosts hold. That `driver` ends is a difference, too. Rejects as `ScenarioDriver.take` does otherwise.
 */
export async function sideBySide(
  options: CompareOptions,
  steps: readonly ActionStep[],
  reference: ScenarioDriver,
  driver: ScenarioDriver,
): Promise<SideBySide> {
  const rules = new ComparableSteps(options);
  const plugged: Set<Slot> = new Set();
  let compared = 0;
  for (const [index, step] of steps.entries()) {
    rules.take(step);
    // eslint-disable-next-line no-await-in-loop -- steps follow each other
    const expected = await reference.take(step);
    // eslint-disable-next-line no-await-in-loop
    const found = await answersDiffer(index, step, expected, driver);
    if (found !== undefined) return { taken: index, compared, difference: found };
    if (step.do === 'plug' && expected === 'done') plugged.add(step.who);
    if (step.do === 'unplug') plugged.delete(step.who);
    if (step.do === 'dma') {
      // eslint-disable-next-line no-await-in-loop
      const faults = await faultsOf(rules, reference, driver);
      if (faults !== undefined && rules.shows('edu') && rules.state.untoldTo('edu') === 'nothing') {
        if (!same(faults.expected, faults.seen))
          return { taken: index + 1, compared, difference: { step: index, what: 'faults', ...faults } };
        compared++;
      }
    }
    for (const slot of plugged) {
      const untold = rules.state.untoldTo(slot);
      if (untold === 'structures' || (untold === 'tables' && options.when === 'told')) continue;
      if (!rules.shows(slot)) continue;
      // eslint-disable-next-line no-await-in-loop
      const difference = await ledgersDiffer(index, slot, reference, driver);
      if (difference !== undefined) return { taken: index + 1, compared, difference };
      compared++;
    }
  }
  return { taken: steps.length, compared };
}

/** A difference as a scenario that asks for what the reference gave, and notes what the other driver did. */
export function scenarioOf(
  { model, machine }: Pick<Scenario, 'model' | 'machine'>,
  steps: readonly ActionStep[],
  { what, step, asked, expected, seen }: RandomDifference,
): Scenario {
  const taken: Step[] = steps.slice(0, step + 1);
  const last = taken.at(-1);
  const slot = /^ledger of (.+)$/.exec(what)?.[1];
  if (slot !== undefined)
    taken.push({ do: 'expect', ledger: { [slot]: asked }, qemu: { ledger: { [slot]: seen } } });
  else if (what === 'faults') taken.push({ do: 'expect', faults: expected, qemu: { faults: seen } });
  else if (last !== undefined) {
    const answer = expected.join();
    const qemu = what === 'end' ? { ends: seen.join() } : { answer: seen.join() };
    taken.splice(-1, 1, { ...last, ...(what === 'end' || answer === 'done' ? {} : { answer }), qemu });
  }
  return { id: 'random', model, title: what, ...(machine === undefined ? {} : { machine }), steps: taken };
}

/** What both say of faults since they were last asked, as far as it is compared; undefined when one of them knows none. */
async function faultsOf(
  rules: ComparableSteps,
  reference: ScenarioDriver,
  driver: ScenarioDriver,
): Promise<Pick<RandomDifference, 'asked' | 'expected' | 'seen'> | undefined> {
  const [wanted, seen] = [await reference.faults(), await driver.faults()];
  if (wanted === undefined || seen === undefined) return undefined;
  const expected = wanted.map((fault) => rules.blurred(fault));
  return { asked: expected, expected, seen: seen.map((fault) => rules.blurred(fault)) };
}

async function answersDiffer(
  index: number,
  step: ActionStep,
  expected: string,
  driver: ScenarioDriver,
): Promise<RandomDifference | undefined> {
  const differ = (what: string, wanted: string, seen: string): RandomDifference | undefined =>
    wanted === seen ? undefined : { step: index, what, asked: [wanted], expected: [wanted], seen: [seen] };
  try {
    return differ('answer', expected, await driver.take(step));
  } catch (error) {
    if (error instanceof DriverEnded) return differ('end', 'it goes on', error.message);
    throw error;
  }
}

async function ledgersDiffer(
  step: number,
  slot: Slot,
  reference: ScenarioDriver,
  driver: ScenarioDriver,
): Promise<RandomDifference | undefined> {
  const wanted = await reference.ledger(slot);
  const asked: LedgerText = same(wanted, reference.shown('RAM')) ? 'RAM' : wanted;
  const [expected, seen] = [driver.shown(asked), await driver.ledger(slot)];
  return same(expected, seen) ? undefined : { step, what: `ledger of ${slot}`, asked, expected, seen };
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i]);
}
