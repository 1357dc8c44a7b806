/** What scenarios are run on. @module */
import {
  NotSupported,
  qemuStarter,
  type Scenario,
  startModel,
  type StartDriver,
} from '../../conform/index.ts';
import { linuxPlatform } from '../../linux/index.ts';
import { probeQemu, type QemuBuild } from '../../qemu/index.ts';
import { UsageError } from '../terminal/exit-codes.ts';
import { printable } from '../terminal/text.ts';

/** Something that runs scenarios. */
export interface ConformVmm {
  readonly runs: 'qemu' | 'models';
  readonly start: StartDriver;
  /** For people: what it is, and how scenarios are set up on it. */
  readonly name: string;
  readonly setup: string;
}

/** viommu's own models. */
export const OWN_MODELS: ConformVmm = {
  runs: 'models',
  start: startModel,
  name: "viommu's own models",
  setup: 'each scenario in a machine of its own, in this process',
};

/** The QEMU at `path`. UsageError when it cannot be run, or does not start a machine for the first of `chosen`. */
export async function qemuAt(path: string, chosen: readonly Scenario[]): Promise<ConformVmm> {
  const build = buildAt(path);
  const start = qemuStarter(build);
  await tryOne(start, chosen);
  return {
    runs: 'qemu',
    start,
    name: `QEMU ${build.version} (${path})`,
    setup:
      'each scenario in a QEMU of its own without processors; a guest of ours drives its IOMMU over qtest, and its ' +
      'vfio-user-pci devices are served from here',
  };
}

function buildAt(path: string): QemuBuild {
  const { mode, why } = linuxPlatform();
  if (mode === 'messages') {
    throw new UsageError(
      `a QEMU shares its memory by descriptors, which cannot be passed here (${why ?? 'unknown reason'})`,
      'install the optional package koffi, on Linux',
    );
  }
  const build = probeQemu(path);
  if (typeof build === 'string') throw new UsageError(build, 'name an executable qemu-system-x86_64');
  if (!build.devices.has('vfio-user-pci')) {
    throw new UsageError(
      `QEMU ${build.version} at ${path} has no vfio-user-pci`,
      'use a qemu-system-x86_64 of release 10.1 or later, with its modules installed',
    );
  }
  return build;
}

/** A QEMU that starts no machine would say so once for every scenario. */
async function tryOne(start: StartDriver, [first]: readonly Scenario[]): Promise<void> {
  if (first === undefined) return;
  try {
    const driver = await start(first);
    await driver.close();
  } catch (error) {
    if (error instanceof NotSupported) return;
    const why = printable(error instanceof Error ? error.message : String(error));
    throw new UsageError(
      `this QEMU does not start a machine for ${first.id}: ${why}`,
      'name a qemu-system-x86_64 with the q35 machine and the qtest accelerator',
    );
  }
}
