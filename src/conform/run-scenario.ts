/** Runs a scenario and writes down what was seen; whether that is right is for {@link differences}. @module */
import { DriverEnded, type ScenarioDriver } from './driver.ts';
import type { Messages, Scenario, Slot, Step } from './scenario.ts';

/** What was seen at one step. */
export interface Observation {
  /** What came of the step: see {@link ScenarioDriver.take}. Undefined at a checkpoint. */
  readonly answer?: string;
  readonly ledger?: Readonly<Partial<Record<Slot, readonly string[]>>>;
  readonly messages?: Readonly<Partial<Record<Slot, Messages>>>;
  readonly tables?: Readonly<Partial<Record<Slot, number>>>;
  readonly faults?: readonly string[];
  /** Set when whatever ran the steps ended here: the last thing that it said. */
  readonly ended?: string;
}

/** Takes the steps in order, one observation each; fewer when the driver ended. The driver stays open. */
export async function runScenario(scenario: Scenario, driver: ScenarioDriver): Promise<Observation[]> {
  const seen: Observation[] = [];
  for (const [index, step] of scenario.steps.entries()) {
    try {
      // eslint-disable-next-line no-await-in-loop -- steps follow each other
      seen.push(await observe(step, driver));
    } catch (error) {
      if (error instanceof DriverEnded) return [...seen, { ended: error.message }];
      throw new Error(`${scenario.id}, step ${index + 1} (${step.do}) could not be taken: ${String(error)}`, {
        cause: error,
      });
    }
  }
  return seen;
}

async function observe(step: Step, driver: ScenarioDriver): Promise<Observation> {
  if (step.do !== 'expect') return { answer: await driver.take(step) };
  const ledger: Partial<Record<Slot, readonly string[]>> = {};
  const messages: Partial<Record<Slot, Messages>> = {};
  for (const slot of slotsOf(step.ledger)) {
    // eslint-disable-next-line no-await-in-loop -- one connection
    ledger[slot] = await driver.ledger(slot);
  }
  for (const slot of slotsOf(step.messages)) {
    const counted = driver.messages(slot);
    if (counted !== undefined) messages[slot] = counted;
  }
  const tables: Partial<Record<Slot, number>> = {};
  for (const slot of slotsOf(step.tables)) {
    // eslint-disable-next-line no-await-in-loop -- one connection
    const read = await driver.tables(slot);
    if (read !== undefined) tables[slot] = read;
  }
  const faults = step.faults === undefined ? undefined : await driver.faults();
  return { ledger, messages, tables, ...(faults === undefined ? {} : { faults }) };
}

function slotsOf(wanted: object | undefined): Slot[] {
  return Object.keys(wanted ?? {}) as Slot[];
}
