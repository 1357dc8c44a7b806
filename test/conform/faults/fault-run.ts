/** Steps on a machine whose hosts fail, held against the reference after each of them. @module */
import {
  type ActionStep,
  type CompareWhen,
  type GuestStep,
  type RandomOptions,
  type Slot,
  ComparableSteps,
  stepText,
} from '../../../src/conform/index.ts';
import { NaiveDriver } from '../naive/naive-driver.ts';
import { type Fault, FaultPlan, faultText, losesHost, type PlannedFault } from './fault-plan.ts';
import { FaultJudge } from './fault-judge.ts';
import { FaultyMachine, type HostManner } from './faulty-machine.ts';

/** A kind of guest. */
export interface FaultGuest extends RandomOptions {
  readonly when: CompareWhen;
}

/** How hosts are, when they fail, and when an operator sees to it. */
export interface FaultCase extends HostManner {
  readonly faults: readonly PlannedFault[];
  /** Steps after which a device that was cut off is released. */
  readonly releaseAfter: number;
}

/** What came of a run. */
export interface FaultOutcome {
  /** Steps of the guest and the operator that were taken. */
  readonly steps: number;
  /** Calls of all hosts. */
  readonly calls: number;
  readonly faults: readonly Fault[];
  /** What must never be and was, with the step at which it was; undefined when all was well. */
  readonly finding: string | undefined;
}

/** Milliseconds for a run, which takes a few. */
const PATIENCE = 20_000;
/** Statuses by which a virtio IOMMU says that a host refused. */
const REFUSED: ReadonlySet<string> = new Set(['NOMEM', 'UNSUPP']);

/** Takes `steps`, and never rejects. */
export async function runWithFaults(
  guest: FaultGuest,
  steps: readonly ActionStep[],
  { faults, releaseAfter, ...manner }: FaultCase,
): Promise<FaultOutcome> {
  const plan = new FaultPlan(faults);
  let run: FaultRun | undefined;
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it never came to an end')), PATIENCE);
  });
  const work = async (): Promise<void> => {
    const machine = await FaultyMachine.start(guest, plan, manner);
    run = new FaultRun(guest, machine, plan, releaseAfter);
    await run.all(steps);
  };
  let finding: string | undefined;
  try {
    await Promise.race([work(), stuck]);
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    finding = `${run?.at ?? 'the boot'}: ${what}`;
  } finally {
    clearTimeout(timer);
  }
  return { steps: run?.taken ?? 0, calls: plan.calls, faults: plan.faults, finding };
}

class FaultRun {
  /** Steps taken. */
  taken = 0;
  readonly #guest: FaultGuest;
  readonly #machine: FaultyMachine;
  readonly #releaseAfter: number;
  readonly #reference: NaiveDriver;
  readonly #steps: ComparableSteps;
  readonly #judge: FaultJudge;
  readonly #plugged: Set<Slot> = new Set();
  #at: { readonly index: number; readonly step: ActionStep } | undefined;
  #translating = true;
  /** Devices that are cut off, and since how many steps. */
  readonly #cutOff: Map<Slot, number> = new Map();

  constructor(guest: FaultGuest, machine: FaultyMachine, plan: FaultPlan, releaseAfter: number) {
    this.#guest = guest;
    this.#machine = machine;
    this.#releaseAfter = releaseAfter;
    this.#reference = new NaiveDriver(guest);
    this.#steps = new ComparableSteps(guest);
    this.#judge = new FaultJudge(guest.model, machine, this.#reference, plan);
  }

  /** Where the run is, for people. */
  get at(): string {
    return this.#at === undefined ? 'the end' : `after step ${this.#at.index}, ${stepText(this.#at.step)}`;
  }

  async all(steps: readonly ActionStep[]): Promise<void> {
    for (const [index, step] of steps.entries()) {
      this.#at = { index, step };
      this.#steps.take(step);
      await this.#take(step);
      await this.#releaseDue(this.#releaseAfter);
    }
    this.#at = undefined;
    await this.#releaseDue(0);
    for (const who of this.#plugged) await this.#take({ do: 'unplug', who });
    this.#judge.nothingLeft();
  }

  /** Whether there is one thing that each host can hold. */
  get #comparable(): boolean {
    return [...this.#plugged].every((slot) => {
      const untold = this.#steps.state.untoldTo(slot);
      return untold === 'nothing' || (untold === 'tables' && this.#guest.when === 'followed');
    });
  }

  async #take(step: ActionStep): Promise<void> {
    const judge = this.#judge;
    if (step.do === 'translation') this.#translating = step.on;
    if (step.do === 'boot') this.#translating = true;
    judge.begin(this.#plugged, this.#comparable);
    this.taken++;
    const seen = await this.#machine.driver.take(step);
    judge.same('answer', this.#expected(step, seen), seen);
    if (step.do === 'plug' && seen === 'done') this.#plugged.add(step.who);
    if (step.do === 'unplug') {
      this.#plugged.delete(step.who);
      this.#cutOff.delete(step.who);
      judge.unplugged(step.who);
    }
    if (this.#comparable && hasAnswer(step)) judge.answered(this.#plugged, REFUSED.has(seen));
    await this.#settle(step);
    if (step.do === 'plug' && seen === 'refused') await this.#refusedPlug(step);
  }

  /** Everybody has had time: who is cut off now must be so for a reason, and its guest must know. */
  async #settle(step: ActionStep | undefined): Promise<void> {
    await this.#machine.settled(this.#plugged);
    const fresh = this.#judge.newlyCutOff(this.#plugged, this.#cutOff, step);
    for (const slot of fresh) {
      this.#cutOff.set(slot, 0);
      this.#reference.host(slot).cutOff();
    }
    if (fresh.length > 0 && this.#listens(step)) this.#judge.told(fresh, await this.#machine.driver.faults());
    // A guest that boots finds records from before it, and those of accesses would fill the queue.
    if (step?.do === 'boot' || step?.do === 'dma') await this.#machine.driver.faults();
    this.#judge.settled(this.#plugged, this.#comparable);
  }

  /**
   * Whether there is a guest that reads records of faults: not while it, or its driver, is about to begin anew, nor, with
   * AMD-Vi, while the unit is off (Control[IommuEn]), for then it logs no events.
   */
  #listens(step: ActionStep | undefined): boolean {
    if (step?.do === 'reset' || step?.do === 'restart' || step?.do === 'boot') return false;
    return this.#translating || this.#guest.model !== 'amdvi';
  }

  /** What `seen` should be; also carries the step out on the reference. */
  #expected(step: ActionStep, seen: string): string {
    const { faults } = this.#judge;
    if (step.do === 'plug') {
      const answer = this.#reference.carryOut(step);
      const own = faults.filter(({ slot }) => slot === step.who);
      // A host that was found lost before it was asked for anything is opened anew.
      const mayRecover = own.every(({ of }) => of === 'barrier') && seen === 'done';
      if (own.length === 0 || answer !== 'done' || mayRecover) return answer;
      this.#reference.carryOut({ do: 'unplug', who: step.who });
      return 'refused';
    }
    const isRequest = step.do === 'map' || step.do === 'attach' || step.do === 'switch';
    if (this.#guest.model !== 'virtio-iommu' || !isRequest) return this.#reference.carryOut(step);
    const refusals = faults.filter((fault) => !losesHost(fault));
    // Of a host that is lost as well, what it refused before or after may not count.
    const isSure = refusals.length === faults.length;
    const isRefused = refusals.length > 0 && (isSure || REFUSED.has(seen));
    return isRefused ? this.#reference.refuse(step as GuestStep) : this.#reference.carryOut(step);
  }

  /** Nothing of it is left; and where a failure was the reason it succeeds when it is tried again. */
  async #refusedPlug(step: Extract<ActionStep, { readonly do: 'plug' }>): Promise<void> {
    const failed = this.#judge.faults.some(({ slot }) => slot === step.who);
    this.#judge.refused(step.who);
    if (failed) await this.#take(step);
  }

  async #releaseDue(after: number): Promise<void> {
    if (!this.#comparable) return;
    for (const [slot, since] of this.#cutOff) {
      if (since < after) this.#cutOff.set(slot, since + 1);
      else await this.#release(slot);
    }
  }

  async #release(slot: Slot): Promise<void> {
    const judge = this.#judge;
    const { kind } = this.#machine.container(slot).state;
    const canReopen = this.#machine.host(slot).reopen !== undefined;
    judge.begin(this.#plugged, true);
    this.taken++;
    const seen = await this.#machine.release(slot);
    if (kind === 'host-lost' && !canReopen) {
      judge.same('release', 'refused', seen);
      await this.#replace(slot);
      return;
    }
    const again = judge.faults.some((fault) => fault.slot === slot);
    const fits = this.#reference.release(slot);
    if (again && seen === 'refused') this.#reference.host(slot).cutOff();
    else judge.same('release', fits ? 'done' : 'refused', seen);
    if (seen === 'done') this.#cutOff.delete(slot);
    else this.#cutOff.set(slot, 0);
    judge.answered(this.#plugged, false);
    await this.#settle(undefined);
    if (again && seen === 'refused') await this.#release(slot);
  }

  /** A device whose host is lost for good is taken out, and plugged anew with another. */
  async #replace(slot: Slot): Promise<void> {
    await this.#take({ do: 'unplug', who: slot });
    await this.#take({ do: 'plug', who: slot });
  }
}

/** Whether the guest learns when the step is complete: a field of the configuration is written, and that is all. */
function hasAnswer(step: ActionStep): boolean {
  return step.do !== 'bypass';
}

/** The steps and the failures of a run, for people. */
export function faultyRunText(
  steps: readonly ActionStep[],
  { answers, reopens, releaseAfter }: FaultCase,
  { faults, finding }: FaultOutcome,
): string {
  return [
    ...steps.map((step, index) => `${index}: ${JSON.stringify(step)}`),
    ...faults.map((fault) => faultText(fault)),
    `hosts answer ${answers}, ${reopens ? 'can' : 'cannot'} be opened anew, released after ${releaseAfter} steps`,
    finding ?? 'nothing was found',
  ].join('\n');
}
