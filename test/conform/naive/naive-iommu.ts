import type { GuestStep, Requester, Slot } from '../../../src/conform/index.ts';
import type { NaiveHost } from './host.ts';

/** One kind of IOMMU with its guest, without registers, queues or tables. */
export interface NaiveIommu {
  /** See `ScenarioDriver.take`. */
  take(step: GuestStep): string;
  /** A host that follows what `slot` may reach from now on; false when it cannot. */
  plug(slot: Slot, host: NaiveHost): boolean;
  unplug(slot: Slot): void;
  /** The machine is reset. */
  reset(): void;
}

/** Two slots behind one bridge are one requester. */
export function requesterOf(who: Requester): string {
  return who === 'pci1' || who === 'pci2' ? 'bridge' : who;
}
