/** One scenario from start to verdict. @module */
import { type Difference, differences } from './differences.ts';
import { NotSupported, type StartDriver } from './driver.ts';
import { runScenario } from './run-scenario.ts';
import type { Scenario } from './scenario.ts';

/**
 * What came of a scenario.
 * - `ok`: everything was as the specification has it.
 * - `differs`: something was not; `known` when it is exactly what the scenario notes of QEMU.
 * - `not-supported`: whatever should run it has no such machine.
 * - `broken`: it could not be carried out to its end.
 */
export type Verdict =
  | { readonly kind: 'ok' }
  | { readonly kind: 'differs'; readonly differences: readonly Difference[]; readonly known: boolean }
  | { readonly kind: 'not-supported' | 'broken'; readonly why: string };

/** Runs `scenario` on a driver of its own and judges it. Never rejects for what the driver does. */
export async function judgeScenario(scenario: Scenario, start: StartDriver): Promise<Verdict> {
  try {
    const driver = await start(scenario);
    try {
      const seen = await runScenario(scenario, driver);
      const found = differences(scenario, seen, driver, 'specification');
      if (found.length === 0) return { kind: 'ok' };
      const known =
        scenario.finding !== undefined && differences(scenario, seen, driver, 'departures').length === 0;
      return { kind: 'differs', differences: found, known };
    } finally {
      await driver.close();
    }
  } catch (error) {
    const missing = [error, error instanceof Error ? error.cause : undefined].find(isNotSupported);
    if (missing !== undefined) return { kind: 'not-supported', why: missing.message };
    return { kind: 'broken', why: error instanceof Error ? error.message : String(error) };
  }
}

function isNotSupported(error: unknown): error is NotSupported {
  return error instanceof NotSupported;
}
