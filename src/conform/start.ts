/** Starts drivers. @module */
import type { QemuBuild } from '../qemu/index.ts';
import type { HostStrictness } from '../vfio/index.ts';
import type { ScenarioDriver, StartDriver } from './driver.ts';
import { CONFORM_MODELS } from './models/index.ts';
import type { Scenario } from './scenario.ts';
import { memoryHosts, ModelVmm } from './vmm/model-vmm.ts';
import { type QemuSinks, QemuVmm } from './vmm/qemu-vmm.ts';
import { VmmDriver } from './vmm-driver.ts';

/** Runs a scenario on our model, with hosts as strict as VFIO type1. */
export function startModel(scenario: Scenario): Promise<ScenarioDriver> {
  return modelStarter('type1')(scenario);
}

/** Runs scenarios on our models, with hosts that are as strict as `strictness`. */
export function modelStarter(strictness: HostStrictness): StartDriver {
  return ({ model, machine = {} }) =>
    VmmDriver.start(new ModelVmm(CONFORM_MODELS[model], machine, memoryHosts(strictness)));
}

/** Runs scenarios on a QEMU, a new process for each. */
export function qemuStarter(build: QemuBuild, sinks: QemuSinks = {}): StartDriver {
  return async ({ model, machine = {} }) =>
    VmmDriver.start(await QemuVmm.start(build, CONFORM_MODELS[model], machine, sinks));
}
