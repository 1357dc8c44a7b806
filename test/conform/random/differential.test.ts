/** A driver that gets something wrong is found out, whatever it is. @module */
import { describe, expect, test } from 'vitest';
import {
  type ActionStep,
  DriverEnded,
  differences,
  type DifferentialRun,
  differentialRun,
  type KnownDeparture,
  runScenario,
  type Scenario,
  type ScenarioDriver,
} from '../../../src/conform/index.ts';
import { NaiveDriver } from '../naive/naive-driver.ts';

const OPTIONS = { model: 'vtd', steps: 100, when: 'told' } as const;
const TRIES = 2000;

function startNaive(scenario: Scenario): Promise<ScenarioDriver> {
  return Promise.resolve(new NaiveDriver(scenario));
}

/** Takes domain-wide invalidations for done. */
class Forgetful extends NaiveDriver {
  override take(step: ActionStep): Promise<string> {
    const isForgotten = step.do === 'invalidate' && step.what === 'domain';
    return isForgotten ? Promise.resolve('done') : super.take(step);
  }
}

/** Ends when a page is unmapped. */
class Brittle extends NaiveDriver {
  override take(step: ActionStep): Promise<string> {
    return step.do === 'unmap' ? Promise.reject(new DriverEnded('assertion failed')) : super.take(step);
  }
}

/** Reports a fault that there was not. */
class Nervous extends NaiveDriver {
  override faults(): Promise<readonly string[]> {
    return Promise.resolve(['00:05.0 r 0x0 LGN.3']);
  }
}

/** Reports none. */
class Calm extends NaiveDriver {
  override faults(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }
}

/** What the first seeds come to. */
async function firstFound(
  Driver: new (scenario: Scenario) => ScenarioDriver,
  more: { readonly departures?: readonly KnownDeparture[] } = {},
  seed: number = 0,
): Promise<DifferentialRun> {
  const run = await differentialRun(
    seed,
    { ...OPTIONS, ...more },
    {
      reference: (scenario) => Promise.resolve(new Calm(scenario)),
      driver: (scenario) => Promise.resolve(new Driver(scenario)),
    },
    TRIES,
  );
  return run.scenario === undefined && seed < 10 ? firstFound(Driver, more, seed + 1) : run;
}

/** Whether `Driver` does what the scenario notes of it. */
async function isNoted(
  Driver: new (scenario: Scenario) => ScenarioDriver,
  scenario: Scenario,
): Promise<boolean> {
  const driver = new Driver(scenario);
  return differences(scenario, await runScenario(scenario, driver), driver, 'departures').length === 0;
}

describe('a run of two drivers', () => {
  test('that do the same finds nothing, and says what it compared', async () => {
    const run = await differentialRun(3, OPTIONS, { reference: startNaive, driver: startNaive }, TRIES);

    expect(run.scenario).toBeUndefined();
    expect(run.taken).toBe(100);
    expect(run.compared).toBeGreaterThan(20);
  });

  test.each([
    { name: 'holds something else', Driver: Forgetful, what: 'ledger' },
    { name: 'ends', Driver: Brittle, what: 'end' },
    { name: 'reports other faults', Driver: Nervous, what: 'faults' },
  ])('of which one $name finds few steps that show it, and notes it', async ({ Driver, what }) => {
    const { scenario } = await firstFound(Driver);

    expect(scenario?.title).toContain(what);
    expect(scenario?.steps.length).toBeLessThanOrEqual(9);
    expect(await isNoted(Driver, scenario as Scenario)).toBe(true);
  });

  test('finds nothing where what one gets wrong is known', async () => {
    const known: KnownDeparture = {
      finding: 'none',
      model: 'vtd',
      why: 'nothing is unmapped',
      excludes: (step) => step.do === 'unmap',
    };

    const { scenario } = await firstFound(Brittle, { departures: [known] });

    expect(scenario).toBeUndefined();
  });

  test('compares of faults what is known to be right', async () => {
    const known: KnownDeparture = {
      finding: 'none',
      model: 'vtd',
      why: 'no fault is compared',
      hides: (who) => who === 'edu',
    };

    const { scenario } = await firstFound(Nervous, { departures: [known] });

    expect(scenario).toBeUndefined();
  });
});
