/** One seed on two drivers, and what it comes to. @module */
import type { ScenarioDriver, StartDriver } from '../driver.ts';
import type { Scenario } from '../scenario.ts';
import {
  type CompareOptions,
  type RandomDifference,
  scenarioOf,
  type SideBySide,
  sideBySide,
} from './compare.ts';
import { type RandomOptions, randomSteps } from './generate.ts';
import type { ActionStep } from './guest-state.ts';
import { shrinkSteps } from './shrink.ts';

/** What is run. */
export interface DifferentialOptions extends RandomOptions, CompareOptions {}

/** The two that are compared: what `reference` gives is what `driver` should. */
export interface Drivers {
  readonly reference: StartDriver;
  readonly driver: StartDriver;
}

/** What came of one seed. */
export interface DifferentialRun extends Omit<SideBySide, 'difference'> {
  /** The smallest scenario found that still differs, in which `qemu` is what the driver did. */
  readonly scenario?: Scenario;
}

/**
 * Takes the steps of `seed` on drivers of their own. When they differ the steps are shrunk, with at most `tries` further
 * runs. Rejects with NotSupported when one of the drivers has no such machine.
 */
export async function differentialRun(
  seed: number,
  options: DifferentialOptions,
  drivers: Drivers,
  tries: number,
): Promise<DifferentialRun> {
  const steps = randomSteps(seed, options);
  const { taken, compared, difference } = await runOn(options, steps, drivers);
  if (difference === undefined) return { taken, compared };
  let smallest: readonly ActionStep[] = steps.slice(0, difference.step + 1);
  let differs: RandomDifference = difference;
  const fails = async (fewer: readonly ActionStep[]): Promise<boolean> => {
    const found = (await runOn(options, fewer, drivers)).difference;
    if (found === undefined || kindOf(found) !== kindOf(difference)) return false;
    [smallest, differs] = [fewer, found];
    return true;
  };
  await shrinkSteps(options, smallest, fails, tries);
  return { taken, compared, scenario: scenarioOf(options, smallest, differs) };
}

async function runOn(
  options: DifferentialOptions,
  steps: readonly ActionStep[],
  { reference, driver }: Drivers,
): Promise<SideBySide> {
  const scenario: Scenario = { id: 'random', title: 'random', ...options, steps };
  const started: ScenarioDriver[] = [];
  try {
    for (const start of [reference, driver]) {
      // eslint-disable-next-line no-await-in-loop -- the second is not started when the first cannot be
      started.push(await start(scenario));
    }
    const [one, other] = started as [ScenarioDriver, ScenarioDriver];
    return await sideBySide(options, steps, one, other);
  } finally {
    await Promise.all(started.map((each) => each.close()));
  }
}

/** A ledger, an answer or an end: one is not shrunk to another. */
function kindOf({ what }: RandomDifference): string {
  return what.split(' ')[0] ?? what;
}
