/**
 * Random guests on our models and on a QEMU side by side, for as long as one likes: `npm run soak -- --help`.
 *
 * Everything depends on the machine's name and the seed alone, so a difference is repeated by both. It is shrunk, held
 * against the naive reference, and printed as a scenario for the table. Exits with 1 when there was one.
 */
import { parseArgs } from 'node:util';
import {
  differences,
  type DifferentialRun,
  differentialRun,
  type Drivers,
  literalText,
  QEMU_DEPARTURES,
  qemuStarter,
  RANDOM_MACHINES,
  type RandomMachine,
  runScenario,
  type Scenario,
  type ScenarioDriver,
  startModel,
} from '../src/conform/index.ts';
import { executableInPath, probeQemu } from '../src/qemu/index.ts';
import { NaiveDriver } from '../test/conform/naive/naive-driver.ts';

const HELP = `usage: npm run soak -- [options]

Takes random steps of a guest and an operator on our models and on a QEMU, side by side, and compares after each what
the hosts of all VFIO devices hold. What QEMU is known to get wrong is left out (--departures lists it); every other
difference is a mistake of ours, or one of QEMU's that is new.

  --minutes N     how long (default 30)
  --seeds N       end after so many seeds on each machine
  --seed N        the first seed (default: from the clock)
  --steps N       steps of each seed (default 60)
  --model KIND    vtd, amdvi or virtio-iommu (default: all)
  --machine NAME  one machine: ${RANDOM_MACHINES.map(({ name }) => name).join(', ')}
  --tries N       runs that may be spent on making a difference smaller (default 400)
  --vmm PATH      a qemu-system-x86_64 with vfio-user-pci (default: VIOMMU_QEMU, or the one in PATH)
  --reference     no QEMU: our models against the naive reference of the tests; only hosts have no limits
  --departures    lists what is left out, and why
  --help

A difference is printed as a scenario. If the mistake is ours, it goes into src/conform/table without \`qemu\`, and then
the model is mended; if it is QEMU's, it goes there with a finding, and into src/conform/random/departures.

Interrupted (SIGINT) it ends with the summary. Exit status: 0 no difference, 1 at least one, 2 nothing was run.
`;

const PROGRESS_MS = 15_000;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seeds: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    steps: { type: 'string', default: '60' },
    model: { type: 'string' },
    machine: { type: 'string' },
    tries: { type: 'string', default: '400' },
    vmm: { type: 'string' },
    reference: { type: 'boolean', default: false },
    departures: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

interface Totals {
  seeds: number;
  steps: number;
  compared: number;
  found: number;
}

const stop = new AbortController();

if (values.help) console.log(HELP);
else if (values.departures) listDepartures();
else await soak();

async function soak(): Promise<void> {
  const first = integer('--seed', values.seed);
  const seeds = values.seeds === undefined ? Infinity : integer('--seeds', values.seeds);
  const options = { steps: integer('--steps', values.steps), tries: integer('--tries', values.tries) };
  const machines = RANDOM_MACHINES.filter(
    ({ name, model }) =>
      (values.model === undefined || values.model === model) &&
      (values.machine === undefined || values.machine === name),
  );
  if (machines.length === 0) misused(`no machine is named ${values.machine ?? values.model}`);
  const end = performance.now() + minutes(values.minutes) * 60_000;
  const drivers = values.reference ? withReference() : withQemu();
  process.once('SIGINT', () => {
    stop.abort();
    console.log('interrupted; the run under way is not counted');
  });

  const totals = new Map(machines.map(({ name }) => [name, { seeds: 0, steps: 0, compared: 0, found: 0 }]));
  const started = performance.now();
  let progress = started + PROGRESS_MS;
  for (let seed = first; seed < first + seeds && !stop.signal.aborted && performance.now() < end; seed++) {
    for (const machine of machines) {
      await oneSeed(seed, machine, options, drivers, totals.get(machine.name) as Totals);
      if (stop.signal.aborted || performance.now() >= end) break;
      if (performance.now() < progress) continue;
      progress = performance.now() + PROGRESS_MS;
      console.log(`${secondsSince(started)} s, seed ${seed}: ${totalText(sum([...totals.values()]))}`);
    }
  }
  for (const [name, total] of totals) console.log(`${name}: ${totalText(total)}`);
  const all = sum([...totals.values()]);
  console.log(`in ${secondsSince(started)} s: ${totalText(all)} (seeds from ${first})`);
  if (all.found > 0) process.exitCode = 1;
  else if (all.seeds === 0) process.exitCode = 2;
}

async function oneSeed(
  seed: number,
  { name, model, machine }: RandomMachine,
  { steps, tries }: { readonly steps: number; readonly tries: number },
  drivers: Drivers,
  total: Totals,
): Promise<void> {
  const options = {
    model,
    ...(machine === undefined ? {} : { machine }),
    steps,
    when: 'told' as const,
    // What is told late, or not, decides what a host with limits refuses: there is no one thing for it to hold.
    ...(values.reference ? { without: new Set(['limited-plug'] as const) } : { departures: QEMU_DEPARTURES }),
  };
  let run: DifferentialRun | { readonly error: unknown };
  try {
    run = await differentialRun(seed, options, drivers, tries);
  } catch (error) {
    run = { error };
  }
  if (stop.signal.aborted) return;
  total.seeds++;
  if ('error' in run) {
    console.log(`\n${name}, seed ${seed}, could not be carried out: ${errorText(run.error)}`);
  } else {
    total.steps += run.taken;
    total.compared += run.compared;
    if (run.scenario === undefined) return;
    console.log(`\n${name}, seed ${seed}, differs:\n${literalText(run.scenario)}`);
    console.log(await opinion(run.scenario));
  }
  total.found++;
  const again = values.reference ? ' --reference' : '';
  console.log(
    `repeat: npm run soak --${again} --machine ${name} --seed ${seed} --seeds 1 --steps ${steps}\n`,
  );
}

/** What the naive reference makes of a scenario that asks for what our model gave. */
async function opinion(scenario: Scenario): Promise<string> {
  if (values.reference) return '`qemu` is what our model gives, all else what the naive reference does';
  const naive = new NaiveDriver(scenario);
  const found = differences(scenario, await runScenario(scenario, naive), naive, 'specification');
  return found.length === 0
    ? 'the naive reference does as our model does'
    : `the naive reference does as our model does not: ${literalText(found)}`;
}

function withQemu(): Drivers {
  const path =
    values.vmm ??
    (process.env['VIOMMU_QEMU'] || executableInPath('qemu-system-x86_64', process.env['PATH'] ?? ''));
  if (path === undefined) misused('no qemu-system-x86_64 in PATH; name one with --vmm or VIOMMU_QEMU');
  const build = probeQemu(path);
  if (typeof build === 'string') misused(build);
  console.log(`our models and QEMU ${build.version}`);
  return { reference: startModel, driver: qemuStarter(build) };
}

function withReference(): Drivers {
  console.log('our models and the naive reference');
  return { reference: startNaive, driver: startModel };
}

function startNaive(scenario: Scenario): Promise<ScenarioDriver> {
  return Promise.resolve(new NaiveDriver(scenario));
}

function listDepartures(): void {
  for (const { finding, model, mode, why } of QEMU_DEPARTURES) {
    console.log(`${finding.padEnd(9)} ${[model, mode].filter(Boolean).join(', ')}: ${why}`);
  }
}

function sum(totals: readonly Totals[]): Totals {
  const add = (pick: (total: Totals) => number): number => totals.reduce((all, one) => all + pick(one), 0);
  return {
    seeds: add(({ seeds }) => seeds),
    steps: add(({ steps }) => steps),
    compared: add(({ compared }) => compared),
    found: add(({ found }) => found),
  };
}

function totalText({ seeds, steps, compared, found }: Totals): string {
  return `${seeds} seeds, ${steps} steps, ${compared} ledgers compared, ${found} differences`;
}

function secondsSince(start: number): number {
  return Math.round((performance.now() - start) / 1000);
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function integer(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  return misused(`${option} ${text}: give an integer, 0 or more`);
}

function minutes(text: string): number {
  const value = Number(text);
  return value > 0 ? value : misused(`--minutes ${text}: give a number above 0`);
}

function misused(why: string): never {
  console.error(`${why}; see npm run soak -- --help`);
  process.exit(2);
}
