/** The scenario table on the naive reference: what the table asks for is what lists and arrays come to. @module */
import { describe, expect, test } from 'vitest';
import { NotSupported, type Scenario, type ScenarioDriver, SCENARIOS } from '../../src/conform/index.ts';
import { differencesOn } from './differences-on.ts';
import { NaiveDriver } from './naive/naive-driver.ts';

function startNaive(scenario: Scenario): Promise<ScenarioDriver> {
  return Promise.resolve(new NaiveDriver(scenario));
}

/** Scenarios that it cannot run. */
const skipped: string[] = [];

describe('the naive reference', () => {
  test.for(SCENARIOS)('$id: $title', async (scenario, { skip }) => {
    const { steps, found } = await differencesOn(scenario, startNaive).catch((error: unknown) => {
      const { cause } = error as Error;
      if (!(cause instanceof NotSupported)) throw error;
      skipped.push(scenario.id);
      return skip(cause.message);
    });

    expect(found).toEqual([]);
    expect(steps).toBe(scenario.steps.length);
  });

  test('runs every scenario', () => {
    expect(skipped).toEqual([]);
  });
});
