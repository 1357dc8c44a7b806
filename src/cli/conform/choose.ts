import { type Scenario, type ScenarioModel, SCENARIOS } from '../../conform/index.ts';
import { UsageError } from '../terminal/exit-codes.ts';

/** What the command line says of which scenarios are meant. */
export interface Choice {
  readonly model?: readonly ScenarioModel[];
  /** Names, parts of names, or numbers of findings. */
  readonly only?: readonly string[];
}

/** The scenarios that are meant, in the order of the table. UsageError when a word, or all of it, means none. */
export function choose({ model, only }: Choice): readonly Scenario[] {
  const tests = only?.map((text) => wordTest(text));
  const chosen = SCENARIOS.filter(
    (scenario) =>
      (model === undefined || model.includes(scenario.model)) &&
      (tests === undefined || tests.some((test) => test(scenario))),
  );
  if (chosen.length > 0) return chosen;
  throw none('no scenario is chosen: --only means none of the IOMMUs that --model names');
}

/** A whole name means that scenario alone; the number of a finding those that show it; all else a part of names. */
function wordTest(text: string): (scenario: Scenario) => boolean {
  const test = testOf(text);
  if (!SCENARIOS.some((scenario) => test(scenario))) {
    throw none(`no scenario is chosen: none has '${text}' in its name`);
  }
  return test;
}

function testOf(text: string): (scenario: Scenario) => boolean {
  const number = text.toUpperCase();
  if (/^R\d+$/.test(number)) return (scenario) => findingOf(scenario) === number;
  if (SCENARIOS.some(({ id }) => id === text)) return ({ id }) => id === text;
  return ({ id }) => id.includes(text);
}

/** The number in docs/conformance.md of what a scenario is about. */
export function findingOf({ finding, watched }: Scenario): string | undefined {
  return finding?.id ?? watched;
}

function none(problem: string): UsageError {
  return new UsageError(problem, 'viommu conform --list has the names and numbers');
}
