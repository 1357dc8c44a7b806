/**
 * Runs guests with a failure at every call of their hosts in turn, for as long as wanted:
 * `node --import tsx tools/soak-faults.ts --steps N --model M --seed S`.
 *
 * Takes N steps of a guest and its operator with each model, or with M only. Seeds count up from S; one is repeated with
 * `--model M --seed S --steps 1`. Prints the range of seeds, what failed how often, and every finding. Exits with 1 when
 * there was one. A run that never ends is a finding; a step that never returns shows as progress that stands still.
 */
import { parseArgs } from 'node:util';
import type { ScenarioModel } from '../src/conform/index.ts';
import { failAtEveryCall } from '../test/conform/faults/every-call.ts';
import { guestsOf } from '../test/conform/faults/fault-guests.ts';

const MODELS: readonly ScenarioModel[] = ['vtd', 'amdvi', 'virtio-iommu'];
const PROGRESS_MS = 10_000;

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '1000000' },
    model: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 0x7fff_ffff) },
  },
});
const steps = integer('--steps', values.steps);
const seed = integer('--seed', values.seed);
const { model: only } = values;
const models = only === undefined ? MODELS : MODELS.filter((model) => model === only);
if (models.length === 0) refuse(`--model ${only}: give ${MODELS.join(', ')}, or nothing for all of them`);
for (const model of models) {
  // eslint-disable-next-line no-await-in-loop -- one model after the other
  if ((await soak(model)) > 0) process.exitCode = 1;
}

/** Returns how much was found. */
async function soak(model: ScenarioModel): Promise<number> {
  const guests = guestsOf(model);
  const faults: Map<string, number> = new Map();
  const started = performance.now();
  let shown = started;
  let [taken, runs, found] = [0, 0, 0];
  let next = seed;
  const say = (what: string): void => {
    const seconds = (performance.now() - started) / 1000;
    console.log(
      `${model}: ${what}${taken} steps in ${runs} runs, ${Math.round(taken / seconds)} steps a second`,
    );
  };
  while (taken < steps) {
    const guest = guests[next % guests.length];
    if (guest === undefined) break;
    // eslint-disable-next-line no-await-in-loop -- one seed after the other
    const outcome = await failAtEveryCall(next, guest);
    next++;
    taken += outcome.steps;
    runs += outcome.runs;
    for (const [name, count] of outcome.faults) faults.set(name, (faults.get(name) ?? 0) + count);
    if (outcome.finding !== undefined) {
      found++;
      console.error(`finding: ${model}, ${outcome.finding}\n`);
    }
    if (performance.now() - shown < PROGRESS_MS) continue;
    shown = performance.now();
    say(`seed ${next - 1}, `);
  }
  say(`seeds ${seed} to ${next - 1}, `);
  const sorted = [...faults].sort(([a], [b]) => a.localeCompare(b));
  console.log(`${model}: failures: ${sorted.map(([name, count]) => `${name} ${count}`).join(', ')}`);
  console.log(`${model}: ${found === 0 ? 'no findings' : `FAILED, ${found} findings`}`);
  return found;
}

function integer(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  return refuse(`${option} ${text}: give an integer, 0 or more`);
}

function refuse(why: string): never {
  console.error(why);
  process.exit(2);
}
