/** Random steps with a failure at every call of the hosts in turn. @module */
import { type ActionStep, Prng, randomSteps, shrinkSteps } from '../../../src/conform/index.ts';
import type { PlannedFault } from './fault-plan.ts';
import {
  type FaultCase,
  type FaultGuest,
  type FaultOutcome,
  faultyRunText,
  runWithFaults,
} from './fault-run.ts';

/** What came of one seed. */
export interface SeedOutcome {
  readonly runs: number;
  /** Steps of all runs. */
  readonly steps: number;
  /** Failures by what failed and how, such as `map refuse`. */
  readonly faults: ReadonlyMap<string, number>;
  /** The fewest steps, the failures and what they led to; undefined when all was well. */
  readonly finding: string | undefined;
}

/** Ways to fail are chosen by a number, which is a multiple of all their counts and more. */
const CHOICES = 3600;
/** A second failure comes this many calls after the first, or fewer. */
const NEAR = 12;
/** Attempts to find fewer steps, each of which is many runs. */
const SHRINK_TRIES = 200;

/**
 * Takes the steps of `seed` once without a failure, and once for each call with a failure at that call: how it fails, how
 * hosts answer and when devices are released is up to the seed, and so is whether there is a second failure soon after.
 */
export async function failAtEveryCall(seed: number, guest: FaultGuest): Promise<SeedOutcome> {
  const prng = new Prng(seed);
  const steps = randomSteps(seed, guest);
  const faults: Map<string, number> = new Map();
  let runs = 0;
  let taken = 0;
  const run = async (plan: FaultCase): Promise<FaultOutcome> => {
    const outcome = await runWithFaults(guest, steps, plan);
    runs++;
    taken += outcome.steps;
    for (const { of, kind } of outcome.faults) {
      const name = `${of} ${kind}`;
      faults.set(name, (faults.get(name) ?? 0) + 1);
    }
    return outcome;
  };
  let plan = caseOf(prng, []);
  let outcome = await run(plan);
  const { calls } = outcome;
  for (let call = 1; call <= calls && outcome.finding === undefined; call++) {
    const planned = [{ call, choice: prng.below(CHOICES) }];
    if (prng.oneIn(4)) planned.push({ call: call + 1 + prng.below(NEAR), choice: prng.below(CHOICES) });
    plan = caseOf(prng, planned);
    // eslint-disable-next-line no-await-in-loop -- one after the other, or none could be told from the others
    outcome = await run(plan);
  }
  const finding = outcome.finding === undefined ? undefined : await smallest(seed, guest, steps, plan);
  return { runs, steps: taken, faults, finding };
}

function caseOf(prng: Prng, faults: readonly PlannedFault[]): FaultCase {
  return {
    faults,
    answers: prng.pick(['at-once', 'at-once', 'soon', 'later'] as const),
    reopens: !prng.oneIn(4),
    releaseAfter: prng.below(6),
  };
}

async function smallest(
  seed: number,
  guest: FaultGuest,
  steps: readonly ActionStep[],
  plan: FaultCase,
): Promise<string> {
  let best = { steps, plan };
  const fails = async (fewer: readonly ActionStep[]): Promise<boolean> => {
    const found = await findingPlan(guest, fewer, best.plan);
    if (found === undefined) return false;
    best = { steps: fewer, plan: found };
    return true;
  };
  await shrinkSteps(guest, steps, fails, SHRINK_TRIES);
  const outcome = await runWithFaults(guest, best.steps, best.plan);
  return `seed ${seed}, ${JSON.stringify({ model: guest.model, machine: guest.machine ?? {} })}\n${faultyRunText(best.steps, best.plan, outcome)}`;
}

/** The same failures, perhaps some calls earlier, that these steps do not stand, too. */
async function findingPlan(
  guest: FaultGuest,
  steps: readonly ActionStep[],
  plan: FaultCase,
): Promise<FaultCase | undefined> {
  const first = plan.faults[0]?.call ?? 0;
  for (let earlier = 0; earlier <= Math.max(0, first - 1); earlier++) {
    const moved = {
      ...plan,
      faults: plan.faults.map(({ call, choice }) => ({ call: call - earlier, choice })),
    };
    // eslint-disable-next-line no-await-in-loop -- the first that is found ends it
    if ((await runWithFaults(guest, steps, moved)).finding !== undefined) return moved;
  }
  return undefined;
}
