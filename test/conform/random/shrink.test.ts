/** A driver that forgets something is found out, and by few steps. @module */
import { expect, test } from 'vitest';
import {
  type ActionStep,
  type Difference,
  differences,
  firstDifference,
  randomSteps,
  runScenario,
  scenarioOf,
  shrinkSteps,
} from '../../../src/conform/index.ts';
import { NaiveDriver } from '../naive/naive-driver.ts';

const VTD = { model: 'vtd' } as const;

/** Takes domain-wide invalidations for done. */
class Forgetful extends NaiveDriver {
  override take(step: ActionStep): Promise<string> {
    const isForgotten = step.do === 'invalidate' && step.what === 'domain';
    return isForgotten ? Promise.resolve('done') : super.take(step);
  }
}

function differenceOf(steps: readonly ActionStep[]): Promise<Difference | undefined> {
  return firstDifference('vtd', steps, new NaiveDriver(VTD), new Forgetful(VTD), 'told');
}

/** The first seed whose steps it gets wrong, and the fewest of them. */
async function finding(seed = 0): Promise<readonly ActionStep[]> {
  const steps = randomSteps(seed, { ...VTD, steps: 100 });
  if ((await differenceOf(steps)) === undefined) return finding(seed + 1);
  return shrinkSteps('vtd', steps, async (fewer) => (await differenceOf(fewer)) !== undefined);
}

test('steps are dropped until each of them is needed', async () => {
  const steps = await finding();

  expect(steps.map((step) => step.do)).toContain('invalidate');
  expect(steps.length).toBeLessThanOrEqual(8);
});

test('what is left is a scenario that the right driver passes and the wrong one fails', async () => {
  const steps = await finding();
  const scenario = scenarioOf(VTD, steps, (await differenceOf(steps)) as Difference);
  const [right, wrong] = [new NaiveDriver(VTD), new Forgetful(VTD)];

  const [passed, failed] = [await runScenario(scenario, right), await runScenario(scenario, wrong)];

  expect(differences(scenario, passed, right, 'specification')).toEqual([]);
  expect(differences(scenario, failed, wrong, 'specification')).toHaveLength(1);
});
