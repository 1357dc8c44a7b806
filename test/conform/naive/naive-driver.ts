/** The naive reference: domains are lists, hosts are arrays, and nothing of our models is used. @module */
import {
  type GuestStep,
  type LedgerText,
  type OperatorStep,
  type Scenario,
  type ScenarioDriver,
  type Slot,
} from '../../../src/conform/index.ts';
import { NaiveHost } from './host.ts';
import { lineOf, RAM } from './leaf.ts';
import type { NaiveIommu } from './naive-iommu.ts';
import { TableIommu } from './table-iommu.ts';
import { VirtioIommu } from './virtio-iommu.ts';

const DONE = 'done';

/** VT-d: leaves of 4 KiB, 2 MiB and 1 GiB; at most 2^18 pages are invalidated by name (CAP_REG.MAMV). */
const VTD = { sizes: [2 ** 18, 2 ** 9, 1], mostNamed: 2 ** 18, tellsOfArrival: true };
/** AMD-Vi: leaves of every power of two. */
const AMDVI = {
  sizes: Array.from({ length: 51 }, (_, i) => 2 ** (50 - i)),
  mostNamed: 2 ** 52,
  tellsOfArrival: false,
};

/** Runs steps on lists. */
export class NaiveDriver implements ScenarioDriver {
  readonly #iommu: NaiveIommu;
  readonly #hosts: Map<Slot, NaiveHost> = new Map();

  constructor({ model, machine = {} }: Pick<Scenario, 'model' | 'machine'>) {
    this.#iommu =
      model === 'virtio-iommu'
        ? new VirtioIommu(machine.bootBypass ?? false)
        : new TableIommu(model === 'vtd' ? VTD : AMDVI);
  }

  take(step: GuestStep | OperatorStep): Promise<string> {
    return Promise.resolve().then(() => this.carryOut(step));
  }

  /** The request of this step is refused by some host. */
  refuse(step: GuestStep): string {
    if (this.#iommu.refuse === undefined) throw new Error(`nobody can refuse '${step.do}'`);
    return this.#iommu.refuse(step);
  }

  ledger(slot: Slot): Promise<readonly string[]> {
    return Promise.resolve().then(() => this.host(slot).lines());
  }

  /** The host of `slot` can be used again. Whether it can hold what it must. */
  release(slot: Slot): boolean {
    return this.host(slot).restored(this.#iommu.reachOf(slot));
  }

  messages(): undefined {
    return undefined;
  }

  tables(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  faults(): Promise<readonly string[] | undefined> {
    return Promise.resolve(undefined);
  }

  shown(text: LedgerText): readonly string[] {
    return text === 'RAM' ? RAM.map((leaf) => lineOf(leaf)) : text;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** As {@link take}, at once. */
  carryOut(step: GuestStep | OperatorStep): string {
    switch (step.do) {
      case 'plug': {
        const host = new NaiveHost(step.sink ?? {});
        if (!this.#iommu.plug(step.who, host)) return 'refused';
        this.#hosts.set(step.who, host);
        return DONE;
      }
      case 'unplug':
        this.#iommu.unplug(step.who);
        this.#hosts.delete(step.who);
        return DONE;
      case 'dma':
      case 'forget':
        return DONE;
      case 'reset':
        this.#iommu.reset();
        return DONE;
      default:
        return this.#iommu.take(step);
    }
  }

  /** What is plugged at `slot`. */
  host(slot: Slot): NaiveHost {
    const host = this.#hosts.get(slot);
    if (host === undefined) throw new Error(`nothing is plugged at ${slot}`);
    return host;
  }
}
