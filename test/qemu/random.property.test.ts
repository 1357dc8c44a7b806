/**
 * Whatever a guest and an operator do, the hosts behind QEMU's IOMMU and behind ours hold the same, but for what QEMU is
 * known to get wrong. What this finds is printed as a scenario for the table; `npm run soak` looks for longer.
 *
 * @module
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  differentialRun,
  literalText,
  QEMU_DEPARTURES,
  type QemuSinks,
  qemuStarter,
  RANDOM_MACHINES,
  type RandomMachine,
  startModel,
} from '../../src/conform/index.ts';
import { probeQemu, type QemuBuild } from '../../src/qemu/index.ts';
import { describeQemu, QEMU } from './harness/find-qemu.ts';
import { ProxyInFront } from './harness/proxied.ts';

/** VIOMMU_RUNS multiplies how many random guests are tried on each machine. */
const RUNS = Math.ceil(16 * Number(process.env['VIOMMU_RUNS'] ?? 1));
const STEPS = 60;
/** Runs that may be spent on making a difference smaller. */
const TRIES = 300;

/** Machines whose hosts are tried behind the proxy, too: one of each model. */
const PROXIED: ReadonlySet<string> = new Set(['vtd', 'amdvi', 'virtio-iommu']);

let probed: QemuBuild | undefined;

function build(): QemuBuild {
  probed ??= probeQemu(QEMU) as QemuBuild;
  return probed;
}

/** The smallest scenario in which `seed` comes to a difference. */
async function foundBy(
  seed: number,
  { name, model, machine }: RandomMachine,
  sinks: QemuSinks,
): Promise<string | undefined> {
  const driver = qemuStarter(build(), sinks);
  const { scenario } = await differentialRun(
    seed,
    { model, ...(machine && { machine }), steps: STEPS, when: 'told', departures: QEMU_DEPARTURES },
    { reference: startModel, driver },
    TRIES,
  );
  const again = `npm run soak -- --machine ${name} --seed ${seed} --seeds 1 --steps ${STEPS}`;
  return scenario && `${literalText(scenario)}\n${again}`;
}

async function expectNothingFound(machine: RandomMachine, sinks: QemuSinks): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.noShrink(fc.nat()), async (seed) => {
      expect(await foundBy(seed, machine, sinks)).toBeUndefined();
    }),
    { numRuns: RUNS },
  );
}

async function proxied(socket: string): Promise<string> {
  return (await ProxyInFront.of({ socket })).socket;
}

describeQemu('random guests', () => {
  test.each(RANDOM_MACHINES)(
    '$name: hosts behind QEMU and behind our model hold the same',
    async (machine) => {
      await expectNothingFound(machine, {});
    },
    20_000 * RUNS,
  );

  test.each(RANDOM_MACHINES.filter(({ name }) => PROXIED.has(name)))(
    '$name: so do strict hosts behind the proxy',
    async (machine) => {
      await expectNothingFound(machine, { unmap: 'exact', front: proxied });
    },
    20_000 * RUNS,
  );
});
