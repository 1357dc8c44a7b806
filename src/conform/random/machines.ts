import type { MachineOptions, ScenarioModel } from '../scenario.ts';

/** A machine that random runs are made on. */
export interface RandomMachine {
  /** Unique, such as `vtd-scalable`. */
  readonly name: string;
  readonly model: ScenarioModel;
  readonly machine?: MachineOptions;
}

/** Every kind of tables and of machine that QEMU follows for VFIO devices. */
export const RANDOM_MACHINES: readonly RandomMachine[] = [
  { name: 'vtd', model: 'vtd' },
  { name: 'vtd-scalable', model: 'vtd', machine: { mode: 'scalable' } },
  { name: 'vtd-39', model: 'vtd', machine: { awBits: 39 } },
  { name: 'amdvi', model: 'amdvi' },
  { name: 'virtio-iommu', model: 'virtio-iommu' },
  { name: 'virtio-iommu-bypass', model: 'virtio-iommu', machine: { bootBypass: true } },
];
