/** A driver that forgets something is found out, and by few steps. @module */
import { expect, test } from 'vitest';
import {
  type ActionStep,
  differences,
  type RandomDifference,
  randomSteps,
  runScenario,
  scenarioOf,
  shrinkSteps,
  sideBySide,
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

async function differenceOf(steps: readonly ActionStep[]): Promise<RandomDifference | undefined> {
  const drivers = [new NaiveDriver(VTD), new Forgetful(VTD)] as const;
  return (await sideBySide({ ...VTD, when: 'told' }, steps, ...drivers)).difference;
}

/** The first seed whose steps it gets wrong, and the fewest of them. */
async function finding(seed = 0): Promise<readonly ActionStep[]> {
  const steps = randomSteps(seed, { ...VTD, steps: 100 });
  if ((await differenceOf(steps)) === undefined) return finding(seed + 1);
  return shrinkSteps(VTD, steps, async (fewer) => (await differenceOf(fewer)) !== undefined);
}

test('steps are dropped until each of them is needed', async () => {
  const steps = await finding();

  expect(steps.map((step) => step.do)).toContain('invalidate');
  expect(steps.length).toBeLessThanOrEqual(8);
});

test('what is left is a scenario that the right driver passes and the wrong one fails', async () => {
  const steps = await finding();
  const scenario = scenarioOf(VTD, steps, (await differenceOf(steps)) as RandomDifference);
  const [right, wrong] = [new NaiveDriver(VTD), new Forgetful(VTD)];

  const [passed, failed] = [await runScenario(scenario, right), await runScenario(scenario, wrong)];

  expect(differences(scenario, passed, right, 'specification')).toEqual([]);
  expect(differences(scenario, failed, wrong, 'specification')).toHaveLength(1);
});
