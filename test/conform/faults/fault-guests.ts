import type { ScenarioModel } from '../../../src/conform/index.ts';
import type { FaultGuest } from './fault-run.ts';

const STEPS = 30;
/** What hosts with limits hold in between decides what they hold ever after, so nothing may be left open. */
const LIMITED = new Set(['silent-move', 'dma'] as const);
/** Faults of accesses would take the one register in which the guest reads that a device was cut off. */
const UNLIMITED = new Set(['limited-plug', 'dma'] as const);
const BEYOND_INTERRUPTS = { aroundInterrupts: false, when: 'followed' } as const;

/** Guests of all models whose devices' hosts fail. */
export const FAULT_GUESTS: readonly (FaultGuest & { readonly title: string })[] = [
  { title: 'VT-d', model: 'vtd', steps: STEPS, without: UNLIMITED, ...BEYOND_INTERRUPTS },
  { title: 'VT-d, hosts with limits', model: 'vtd', steps: STEPS, without: LIMITED, ...BEYOND_INTERRUPTS },
  // See the random guests for what can be compared where.
  { title: 'VT-d, around the interrupt range', model: 'vtd', steps: STEPS, without: UNLIMITED, when: 'told' },
  {
    title: 'VT-d in scalable mode',
    model: 'vtd',
    machine: { mode: 'scalable' },
    steps: STEPS,
    without: UNLIMITED,
    when: 'told',
  },
  { title: 'AMD-Vi', model: 'amdvi', steps: STEPS, without: UNLIMITED, ...BEYOND_INTERRUPTS },
  {
    title: 'AMD-Vi, hosts with limits',
    model: 'amdvi',
    steps: STEPS,
    without: LIMITED,
    ...BEYOND_INTERRUPTS,
  },
  {
    title: 'AMD-Vi, around the interrupt range',
    model: 'amdvi',
    steps: STEPS,
    without: UNLIMITED,
    when: 'told',
  },
  { title: 'virtio-iommu', model: 'virtio-iommu', steps: STEPS, without: UNLIMITED, when: 'told' },
  { title: 'virtio-iommu, hosts with limits', model: 'virtio-iommu', steps: STEPS, when: 'told' },
  {
    title: 'virtio-iommu that bypasses at first',
    model: 'virtio-iommu',
    machine: { bootBypass: true },
    steps: STEPS,
    when: 'told',
  },
];

/** Those of one model. */
export function guestsOf(model: ScenarioModel): readonly FaultGuest[] {
  return FAULT_GUESTS.filter((guest) => guest.model === model);
}
