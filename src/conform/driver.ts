import type { GuestStep, LedgerText, Messages, OperatorStep, Scenario, Slot } from './scenario.ts';

/** What runs the steps of one scenario: our model, a naive reference, a real QEMU. */
export interface ScenarioDriver {
  /**
   * Carries a step out. Resolves with what came of it: `done`, or what else `Outcome.answer` can be. Rejects with DriverEnded when whatever runs the steps is gone, and with other errors for a scenario that
   * cannot be carried out.
   */
  take(step: GuestStep | OperatorStep): Promise<string>;
  /** What the host behind a plugged device holds, ascending, as lines of a ledger. */
  ledger(slot: Slot): Promise<readonly string[]>;
  /** What that host was sent since the last call, or since the plug; undefined when the driver does not count. */
  messages(slot: Slot): Messages | undefined;
  /** Tables that were read while the device was plugged; undefined when the driver does not count. */
  tables(slot: Slot): Promise<number | undefined>;
  /** Faults that the guest could read since the last call; undefined when the driver knows none. */
  faults(): Promise<readonly string[] | undefined>;
  /** What a host of this driver shows where the scenario asks for `text`. */
  shown(text: LedgerText): readonly string[];
  close(): Promise<void>;
}

/** Starts a driver for a scenario's machine. Rejects with NotSupported when it has no such machine. */
export type StartDriver = (scenario: Scenario) => Promise<ScenarioDriver>;

/** Whatever ran the steps is gone; the message is what it said last. */
export class DriverEnded extends Error {
  override readonly name = 'DriverEnded';
}

/** A scenario needs what this driver does not have; the message says what. */
export class NotSupported extends Error {
  override readonly name = 'NotSupported';
}
