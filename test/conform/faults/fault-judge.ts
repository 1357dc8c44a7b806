import {
  accessOfText,
  type ActionStep,
  ledgerLine,
  REQUESTERS,
  type ScenarioModel,
  type Slot,
} from '../../../src/conform/index.ts';
import { formatRequesterId, type Mapping } from '../../../src/iommu/index.ts';
import { type Leaf, lineOf as leafLine } from '../naive/leaf.ts';
import type { NaiveDriver } from '../naive/naive-driver.ts';
import { type Fault, type FaultPlan, faultText, losesHost } from './fault-plan.ts';
import type { FaultyMachine } from './faulty-machine.ts';

/** How a guest is told that a device was cut off, by model. */
const REPORTS: Readonly<Record<ScenarioModel, RegExp>> = {
  vtd: / (LGN\.1|SGN\.4)$/,
  amdvi: / IO_PAGE_FAULT$/,
  'virtio-iommu': / UNKNOWN$/,
};

/** Says what must not be, by what the reference holds and what was made to fail; knows nothing of the code under test. */
export class FaultJudge {
  readonly #model: ScenarioModel;
  readonly #machine: FaultyMachine;
  readonly #reference: NaiveDriver;
  readonly #plan: FaultPlan;
  /** Failures before the step under way. */
  #before = 0;
  /** What hosts could hold when the step under way began; undefined where that was not certain. */
  #held: Map<Slot, readonly Leaf[]> | undefined;

  constructor(model: ScenarioModel, machine: FaultyMachine, reference: NaiveDriver, plan: FaultPlan) {
    this.#model = model;
    this.#machine = machine;
    this.#reference = reference;
    this.#plan = plan;
  }

  /** Failures since the step began. */
  get faults(): readonly Fault[] {
    return this.#plan.faults.slice(this.#before);
  }

  begin(plugged: ReadonlySet<Slot>, certain: boolean): void {
    this.#before = this.#plan.faults.length;
    this.#held = certain ? new Map() : undefined;
    for (const slot of plugged) {
      this.#machine.host(slot).taken.length = 0;
      this.#held?.set(slot, this.#reference.host(slot).mappings());
    }
  }

  same(what: string, expected: string, seen: string): void {
    if (expected !== seen) throw new Error(`${what}: ${seen} and not ${expected}`);
  }

  /**
   * The guest has its answer: no host holds what is withdrawn, none lacks what is mapped, and that of a device that is cut
   * off holds nothing. With `refused` false, none was given anything that was neither before nor is now.
   */
  answered(plugged: ReadonlySet<Slot>, refused: boolean): void {
    this.#noViolation();
    for (const slot of plugged) {
      const { kind } = this.#machine.container(slot).state;
      if (kind === 'quarantined' && !this.#machine.host(slot).lost) this.#empty(slot);
      if (kind !== 'attached' || this.#reference.host(slot).isCutOff || this.#mayBeLost(slot)) continue;
      this.#equal(slot);
      if (!refused) this.#onlyKnown(slot);
    }
  }

  /** Devices that are cut off and were not before. None may be without a reason, nor go on when it has one. */
  newlyCutOff(
    plugged: ReadonlySet<Slot>,
    known: ReadonlyMap<Slot, unknown>,
    step: ActionStep | undefined,
  ): Slot[] {
    const fresh: Slot[] = [];
    for (const slot of plugged) {
      const state = this.#machine.container(slot).state;
      const faults = this.faults.filter((fault) => fault.slot === slot);
      if (state.kind === 'attached') {
        const isNew = step === undefined || (step.do === 'plug' && step.who === slot);
        if (!isNew && !known.has(slot) && faults.some((fault) => losesHost(fault)))
          throw new Error(`${slot} goes on with a host that failed`);
        continue;
      }
      if (known.has(slot)) continue;
      if (!('reason' in state)) throw new Error(`${slot} is ${state.kind}`);
      const byLimits = this.#reference.host(slot).isCutOff;
      if (faults.length === 0 && !byLimits)
        throw new Error(`${slot} is cut off for nothing: ${state.reason}`);
      if (!byLimits && this.#isRefusable(step) && !faults.some((fault) => losesHost(fault)))
        throw new Error(`${slot} is cut off for what the request could be refused for: ${state.reason}`);
      fresh.push(slot);
    }
    return fresh;
  }

  /** The guest reads in the records of faults that these devices were cut off. */
  told(slots: readonly Slot[], records: readonly string[]): void {
    const told = (slot: Slot): boolean =>
      records.some(
        (line) =>
          line.startsWith(`${formatRequesterId(REQUESTERS[slot])} `) && REPORTS[this.#model].test(line),
      );
    // A fault register that is taken has no room for a second report.
    const enough = this.#model === 'vtd' ? slots.some(told) : slots.every(told);
    if (!enough)
      throw new Error(`${slots.join(' and ')} cut off, and the guest reads [${records.join('; ')}]`);
  }

  /** Hosts hold what the reference says, and those of devices that are cut off nothing, or they are lost. */
  settled(plugged: ReadonlySet<Slot>, certain: boolean): void {
    this.#noViolation();
    for (const slot of plugged) {
      const { kind } = this.#machine.container(slot).state;
      if (kind === 'attached') {
        if (certain) this.#equal(slot);
      } else if (kind === 'host-lost') {
        if (!this.#machine.host(slot).lost) throw new Error(`the host of ${slot} is held to be lost`);
      } else {
        this.#empty(slot);
      }
    }
  }

  /** A plug of `slot` was refused: nothing of it is left, and nobody listens who would still ask its host. */
  refused(slot: Slot): void {
    this.unplugged(slot);
    if (this.#machine.functions().includes(slot)) throw new Error(`a refused plug left ${slot} in its slot`);
  }

  unplugged(slot: Slot): void {
    const host = this.#machine.host(slot);
    if (!host.lost) this.#empty(slot);
    host.retire();
  }

  /** With everything unplugged. */
  nothingLeft(): void {
    this.#noViolation();
    const left = this.#machine.functions();
    if (left.length > 0) throw new Error(`${left.join()} left in their slots`);
    this.#machine.end();
  }

  /** Whether the host failed so that what it holds is open. */
  #mayBeLost(slot: Slot): boolean {
    return this.faults.some((fault) => fault.slot === slot && losesHost(fault));
  }

  #equal(slot: Slot): void {
    const expected = this.#reference.host(slot).mappings();
    let index = 0;
    for (const mapping of this.#machine.host(slot).holds.mappings()) {
      const wanted = expected[index++];
      if (wanted === undefined || !isSame(wanted, mapping)) this.#differs(slot, expected);
    }
    if (index < expected.length) this.#differs(slot, expected);
  }

  #onlyKnown(slot: Slot): void {
    const before = this.#held?.get(slot);
    const { taken } = this.#machine.host(slot);
    if (before === undefined || taken.length === 0) return;
    const known = [...before, ...this.#reference.host(slot).mappings()];
    const strange = taken.find((mapping) => !known.some((leaf) => isSame(leaf, mapping)));
    if (strange !== undefined) throw new Error(`${slot} was given ${lineOf(strange)} meanwhile`);
  }

  #empty(slot: Slot): void {
    const lines = [...this.#machine.host(slot).holds.mappings()].map((mapping) => lineOf(mapping));
    if (lines.length > 0) throw new Error(`the host of ${slot} has kept ${lines.join('; ')}`);
  }

  #differs(slot: Slot, expected: readonly Leaf[]): never {
    const held = [...this.#machine.host(slot).holds.mappings()].map((mapping) => lineOf(mapping));
    const wanted = expected.map((leaf) => leafLine(leaf));
    throw new Error(`${slot} holds [${held.join('; ')}] and not [${wanted.join('; ')}]`);
  }

  #noViolation(): void {
    const { violations, faults } = this.#plan;
    if (violations.length > 0)
      throw new Error(
        `${violations.join('; ')} (failures: ${faults.map((fault) => faultText(fault)).join('; ')})`,
      );
  }

  /** Whether a host's refusal of a mapping is a matter of the request's status. */
  #isRefusable(step: ActionStep | undefined): boolean {
    if (this.#model !== 'virtio-iommu' || step === undefined) return false;
    return step.do === 'map' || step.do === 'attach' || step.do === 'switch';
  }
}

function isSame(leaf: Leaf, { iova, pages, target, access }: Mapping): boolean {
  return (
    leaf.iova === iova &&
    leaf.pages === pages &&
    leaf.target === target &&
    accessOfText(leaf.access) === access
  );
}

function lineOf({ iova, pages, target, access }: Mapping): string {
  return ledgerLine(iova, pages, target, access);
}
