import { CONFORM_MODELS, ModelVmm, type Scenario, type Slot, VmmDriver } from '../../../src/conform/index.ts';
import { PciBridge, type PciBus } from '../../../src/pci/index.ts';
import { PlugRefusedError, type VfioContainer } from '../../../src/vfio/index.ts';
import type { FaultPlan } from './fault-plan.ts';
import { type Answers, FaultyHost } from './faulty-host.ts';

/** What hosts are like, apart from their limits. */
export interface HostManner {
  readonly answers: Answers;
  /** Whether a host that was lost can be opened anew. */
  readonly reopens: boolean;
}

/** Our model in a machine whose hosts fail as planned. */
export class FaultyMachine {
  readonly driver: VmmDriver;
  readonly #vmm: ModelVmm;
  /** The last host of each slot. */
  readonly #hosts: Map<Slot, FaultyHost>;

  private constructor(driver: VmmDriver, vmm: ModelVmm, hosts: Map<Slot, FaultyHost>) {
    this.driver = driver;
    this.#vmm = vmm;
    this.#hosts = hosts;
  }

  static async start(
    { model, machine = {} }: Pick<Scenario, 'model' | 'machine'>,
    plan: FaultPlan,
    { answers, reopens }: HostManner,
  ): Promise<FaultyMachine> {
    const hosts: Map<Slot, FaultyHost> = new Map();
    const vmm = new ModelVmm(CONFORM_MODELS[model], machine, (slot, limits) => {
      const host = new FaultyHost(slot, limits, plan, answers, reopens);
      hosts.set(slot, host);
      return { host, holds: host.holds };
    });
    return new FaultyMachine(await VmmDriver.start(vmm), vmm, hosts);
  }

  /** The host that `slot` has, or had last. */
  host(slot: Slot): FaultyHost {
    const host = this.#hosts.get(slot);
    if (host === undefined) throw new Error(`nothing was plugged at ${slot}`);
    return host;
  }

  container(slot: Slot): VfioContainer {
    return this.#vmm.device(slot).container;
  }

  async release(slot: Slot): Promise<'done' | 'refused'> {
    try {
      await this.container(slot).release();
      return 'done';
    } catch (error) {
      if (error instanceof PlugRefusedError) return 'refused';
      throw error;
    }
  }

  /** Everything that was asked for is over. */
  async settled(plugged: Iterable<Slot>): Promise<void> {
    await this.#vmm.iommu.settled();
    // eslint-disable-next-line no-await-in-loop -- they are few, and mostly over
    for (const slot of plugged) await this.container(slot).barrier();
  }

  /** Names of the functions on all buses, bridges left out. */
  functions(bus: PciBus = this.#vmm.machine.pci): string[] {
    return bus.functions.flatMap((fn) =>
      fn instanceof PciBridge ? this.functions(fn.secondary) : [fn.name],
    );
  }

  /** Throws when anybody still listens to guest memory. */
  end(): void {
    this.#vmm.memory.dispose();
  }
}
