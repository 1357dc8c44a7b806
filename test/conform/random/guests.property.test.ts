/** Whatever steps are taken, hosts behind our models hold what those of the naive reference do. @module */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ActionStep,
  type CompareWhen,
  type RandomDifference,
  type RandomOptions,
  randomSteps,
  scenarioOf,
  shrinkSteps,
  sideBySide,
  startModel,
} from '../../../src/conform/index.ts';
import { NaiveDriver } from '../naive/naive-driver.ts';

/** VIOMMU_RUNS multiplies how many guests are tried. */
const RUNS = Math.ceil(40 * Number(process.env['VIOMMU_RUNS'] ?? 1));

interface Guest extends RandomOptions {
  readonly when: CompareWhen;
}

async function differenceOf(
  options: Guest,
  steps: readonly ActionStep[],
): Promise<RandomDifference | undefined> {
  const scenario = { id: 'random', title: 'random', ...options, steps };
  const model = await startModel(scenario);
  try {
    return (await sideBySide(options, steps, new NaiveDriver(scenario), model)).difference;
  } finally {
    await model.close();
  }
}

/** The smallest difference that the steps of `seed` lead to, as a scenario. */
async function findingOf(seed: number, options: Guest): Promise<string | undefined> {
  const steps = randomSteps(seed, options);
  if ((await differenceOf(options, steps)) === undefined) return undefined;
  const fails = async (fewer: readonly ActionStep[]): Promise<boolean> =>
    (await differenceOf(options, fewer)) !== undefined;
  const fewest = await shrinkSteps(options, steps, fails);
  const difference = (await differenceOf(options, fewest)) as RandomDifference;
  return JSON.stringify(scenarioOf(options, fewest, difference), null, 1);
}

/** What hosts with limits hold in between decides what they hold ever after, so nothing may be left open. */
const LIMITED = new Set(['silent-move'] as const);
const UNLIMITED = new Set(['limited-plug'] as const);
const BEYOND_INTERRUPTS = { aroundInterrupts: false, when: 'followed' } as const;

const GUESTS: readonly (Guest & { readonly title: string })[] = [
  { title: 'VT-d', model: 'vtd', steps: 60, without: UNLIMITED, ...BEYOND_INTERRUPTS },
  { title: 'VT-d, hosts with limits', model: 'vtd', steps: 60, without: LIMITED, ...BEYOND_INTERRUPTS },
  // More is looked at there than what was invalidated, so only what was told of can be compared.
  { title: 'VT-d, around the interrupt range', model: 'vtd', steps: 60, without: UNLIMITED, when: 'told' },
  // A switch tells less there than the reference takes it to.
  {
    title: 'VT-d in scalable mode',
    model: 'vtd',
    machine: { mode: 'scalable' },
    steps: 60,
    without: UNLIMITED,
    when: 'told',
  },
  {
    title: 'VT-d, tables of three levels',
    model: 'vtd',
    machine: { awBits: 39 },
    steps: 60,
    without: LIMITED,
    ...BEYOND_INTERRUPTS,
  },
  { title: 'AMD-Vi', model: 'amdvi', steps: 60, without: UNLIMITED, ...BEYOND_INTERRUPTS },
  { title: 'AMD-Vi, hosts with limits', model: 'amdvi', steps: 60, without: LIMITED, ...BEYOND_INTERRUPTS },
  {
    title: 'AMD-Vi, around the interrupt range',
    model: 'amdvi',
    steps: 60,
    without: UNLIMITED,
    when: 'told',
  },
  { title: 'virtio-iommu', model: 'virtio-iommu', steps: 60, without: UNLIMITED, when: 'told' },
  { title: 'virtio-iommu, hosts with limits', model: 'virtio-iommu', steps: 60, when: 'told' },
  {
    title: 'virtio-iommu that bypasses at first',
    model: 'virtio-iommu',
    machine: { bootBypass: true },
    steps: 60,
    when: 'told',
  },
];

describe('random guests', () => {
  test.each(GUESTS)('$title', async ({ title: _title, ...options }) => {
    await fc.assert(
      fc.asyncProperty(fc.noShrink(fc.integer()), async (seed) => {
        expect(await findingOf(seed, options)).toBeUndefined();
      }),
      { numRuns: RUNS },
    );
  });
});
