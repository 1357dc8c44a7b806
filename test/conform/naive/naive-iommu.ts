import type { GuestStep, Requester, Slot } from '../../../src/conform/index.ts';
import type { NaiveHost } from './host.ts';
import type { Leaf } from './leaf.ts';

/** One kind of IOMMU with its guest, without registers, queues or tables. */
export interface NaiveIommu {
  /** See `ScenarioDriver.take`. */
  take(step: GuestStep): string;
  /** The same for a request that some host refuses; an IOMMU with tables has none. */
  refuse?(step: GuestStep): string;
  /** A host that follows what `slot` may reach from now on; false when it cannot. */
  plug(slot: Slot, host: NaiveHost): boolean;
  unplug(slot: Slot): void;
  /** What `slot` may reach, as far as the IOMMU has learnt. */
  reachOf(slot: Slot): readonly Leaf[];
  /** The machine is reset. */
  reset(): void;
}

/** Two slots behind one bridge are one requester. */
export function requesterOf(who: Requester): string {
  return who === 'pci1' || who === 'pci2' ? 'bridge' : who;
}
