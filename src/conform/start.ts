/** Starts drivers. @module */
import type { QemuBuild } from '../qemu/index.ts';
import type { ScenarioDriver, StartDriver } from './driver.ts';
import { CONFORM_MODELS } from './models/index.ts';
import type { Scenario } from './scenario.ts';
import { ModelVmm } from './vmm/model-vmm.ts';
import { type QemuSinks, QemuVmm } from './vmm/qemu-vmm.ts';
import { VmmDriver } from './vmm-driver.ts';

/** Runs a scenario on our model. */
export async function startModel({ model, machine = {} }: Scenario): Promise<ScenarioDriver> {
  return VmmDriver.start(new ModelVmm(CONFORM_MODELS[model], machine));
}

/** Runs scenarios on a QEMU, a new process for each. */
export function qemuStarter(build: QemuBuild, sinks: QemuSinks = {}): StartDriver {
  return async ({ model, machine = {} }) =>
    VmmDriver.start(await QemuVmm.start(build, CONFORM_MODELS[model], machine, sinks));
}
