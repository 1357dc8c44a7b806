import type { GuestStep } from './scenario.ts';

/** The guest of one model: takes steps by writing memory, registers or requests through a driver. */
export interface GuestSide {
  /** Brings the IOMMU up, as after a reset; translation is on where the model can turn it. */
  boot(): Promise<void>;
  /** Carries a step out; see `ScenarioDriver.take` for what it gives. */
  take(step: GuestStep): Promise<string>;
  /** Faults that the guest can read, and forgets. */
  faults(): Promise<readonly string[]>;
}
