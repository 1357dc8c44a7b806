import {
  type Difference,
  differences,
  runScenario,
  type Scenario,
  type StartDriver,
} from '../../src/conform/index.ts';

/** Runs a scenario to its end; returns how many steps were taken, and what was not as the specification has it. */
export async function differencesOn(
  scenario: Scenario,
  start: StartDriver,
): Promise<{ readonly steps: number; readonly found: readonly Difference[] }> {
  const driver = await start(scenario);
  try {
    const seen = await runScenario(scenario, driver);
    return { steps: seen.length, found: differences(scenario, seen, driver, 'specification') };
  } finally {
    await driver.close();
  }
}
