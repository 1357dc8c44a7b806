/** Holds what was seen against what a scenario asks for, or against what QEMU was seen to do. @module */
import type { ScenarioDriver } from './driver.ts';
import type { Observation } from './run-scenario.ts';
import type { Departure, Messages, Scenario, Slot, Step } from './scenario.ts';

/** One thing that was not as expected. */
export interface Difference {
  /** Index of the step, from 0; the number of steps when something is missing at the end. */
  readonly step: number;
  /** What differs, such as `ledger of nic`. */
  readonly what: string;
  readonly expected: readonly string[];
  readonly seen: readonly string[];
}

/** What a run is held against: the specification, or the departures that the scenario notes of QEMU. */
export type Yardstick = 'specification' | 'departures';

/** Every difference between what `scenario` asks for and what was seen, in the order of the steps. */
export function differences(
  scenario: Scenario,
  seen: readonly Observation[],
  driver: Pick<ScenarioDriver, 'shown'>,
  yardstick: Yardstick,
): Difference[] {
  const found: Difference[] = [];
  for (const [index, step] of scenario.steps.entries()) {
    const departure = yardstick === 'departures' ? (step.qemu ?? {}) : {};
    const observation = seen[index];
    if (observation === undefined) break;
    const compare = (what: string, expected: readonly string[], got: readonly string[]): void => {
      if (!sameLines(expected, got)) found.push({ step: index, what, expected, seen: got });
    };
    if (departure.ends !== undefined) {
      const said = observation.ended ?? 'it goes on';
      if (!said.includes(departure.ends)) compare('end', [departure.ends], [said]);
      break;
    }
    if (observation.ended !== undefined) {
      compare('end', ['it goes on'], [observation.ended]);
      break;
    }
    compareStep(step, observation, departure, driver, compare);
  }
  return found;
}

type Compare = (what: string, expected: readonly string[], got: readonly string[]) => void;

function compareStep(
  step: Step,
  observation: Observation,
  departure: Departure,
  driver: Pick<ScenarioDriver, 'shown'>,
  compare: Compare,
): void {
  if (step.do !== 'expect') {
    compare('answer', [departure.answer ?? step.answer ?? 'done'], [observation.answer ?? '']);
    return;
  }
  for (const [name, text] of Object.entries(step.ledger ?? {})) {
    const slot = name as Slot;
    // What was seen of QEMU is noted as it was seen.
    const noted = departure.ledger?.[slot];
    const expected = noted === undefined || noted === 'RAM' ? driver.shown(noted ?? text) : noted;
    compare(`ledger of ${slot}`, expected, observation.ledger?.[slot] ?? []);
  }
  for (const [slot, { maps, unmaps }] of Object.entries({ ...step.messages, ...departure.messages })) {
    const counted = observation.messages?.[slot as Slot];
    if (counted === undefined) continue;
    compare(`messages to ${slot}`, [messagesText({ maps, unmaps })], [messagesText(counted)]);
  }
  for (const [slot, expected] of Object.entries({ ...step.tables, ...departure.tables })) {
    const read = observation.tables?.[slot as Slot];
    if (read !== undefined) compare(`tables read for ${slot}`, [String(expected)], [String(read)]);
  }
  const faults = departure.faults ?? step.faults;
  if (faults !== undefined && observation.faults !== undefined) compare('faults', faults, observation.faults);
}

function messagesText({ maps, unmaps }: Messages): string {
  return `${maps} maps, ${unmaps} unmaps`;
}

function sameLines(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i]);
}
