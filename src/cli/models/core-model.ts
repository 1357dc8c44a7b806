import type { AddressSpace } from '../../memory/index.ts';
import type { OpenIommu } from './open-iommu.ts';

/** The two 32-bit halves of a register. */
export interface RegisterValue {
  readonly lo: number;
  readonly hi: number;
}

/** A register that a core of guest memory does not hold and a person tells. */
export interface CoreRegister {
  /** Its option on the command line, without dashes: `rtaddr`. */
  readonly option: string;
  /** What the option means, for its help text. */
  readonly help: string;
  /** Why it is needed, such as `what RTADDR_REG held`; undefined when it may be left out. */
  readonly needed: string | undefined;
}

/** How an IOMMU is opened on a core of guest memory and what a person says about its registers. */
export interface CoreModel {
  readonly registers: readonly CoreRegister[];
  /** How to find the values, for help texts. */
  readonly help: string;
  /**
   * Builds the IOMMU of a stopped guest. `values` has the needed registers, and those others that were given.
   *
   * @throws UsageError for values that describe no unit
   */
  open(memory: AddressSpace, values: ReadonlyMap<string, RegisterValue>): OpenIommu;
}
