import { PageAllocator } from '../../guests/index.ts';
import type { GuestIommu } from '../../iommu/index.ts';
import { guestMemory, Machine, type PluggedDevice } from '../../machine/index.ts';
import { type AddressSpace, dmaRead, dmaWrite, PAGES_END, SparseRamBlock } from '../../memory/index.ts';
import type { PciBus } from '../../pci/index.ts';
import { type HostIommu, type HostStrictness, MemoryHostIommu, PlugRefusedError } from '../../vfio/index.ts';
import type { GuestSide } from '../guest-side.ts';
import type { ConformModel, ModelInProcess } from '../model.ts';
import { REQUESTERS } from '../requesters.ts';
import type { MachineOptions, Messages, SinkLimits, Slot } from '../scenario.ts';
import { ledgerLine, pagesOfText } from '../text.ts';
import { MACHINE_RAM, type Vmm } from '../vmm.ts';
import { SlowHost } from './slow-host.ts';

/** A host as a machine sees it, and what it holds; the two are one unless something stands between them. */
export interface ConformHost {
  readonly host: HostIommu;
  readonly holds: MemoryHostIommu;
}

/** Makes the host behind a device that is about to be plugged. */
export type NewHost = (slot: Slot, limits: SinkLimits) => ConformHost;

interface Plugged {
  readonly device: PluggedDevice;
  readonly host: MemoryHostIommu;
  /** Messages that have been told of. */
  told: { readonly map: number; readonly unmap: number };
}

/** Entries of a table. */
const TABLE_ENTRIES = 512;

const NO_MESSAGES = { map: 0, unmap: 0 };

/** A machine of our own: an IOMMU model, PCI slots, hosts in memory. */
export class ModelVmm implements Vmm {
  readonly memory: AddressSpace;
  readonly allMemory: readonly string[];
  /** The devices, and where they are plugged. */
  readonly machine: Machine;
  readonly #model: ModelInProcess;
  readonly #newHost: NewHost;
  readonly #edu: AddressSpace;
  readonly #places: Readonly<Record<Slot, { readonly bus: PciBus; readonly device: number }>>;
  readonly #plugged: Map<Slot, Plugged> = new Map();

  constructor(model: ConformModel, options: MachineOptions, newHost: NewHost) {
    this.#newHost = newHost;
    const ram = [MACHINE_RAM.low, MACHINE_RAM.high];
    const { memory } = guestMemory(
      ram.map(({ start, pages }) => ({ start, block: new SparseRamBlock(pages) })),
    );
    this.memory = memory;
    this.allMemory = ram.map(({ start, pages }) => ledgerLine(start, pages, start, 3));
    this.#model = model.inProcess(options, memory);
    const { iommu } = this.#model;
    this.machine = new Machine({ memory, iommu });
    this.#edu = iommu.addressSpace(REQUESTERS.edu);
    const { pci } = this.machine;
    const nic = pci.attachBridge('root port of nic', 3, 0, 'root-port', 1).secondary;
    const port = pci.attachBridge('root port of the bridge', 4, 0, 'root-port', 2).secondary;
    const conventional = port.attachBridge('bridge', 0, 0, 'pcie-to-pci', 3).secondary;
    const disk = pci.attachBridge('root port of disk', 6, 0, 'root-port', 4).secondary;
    this.#places = {
      nic: { bus: nic, device: 0 },
      disk: { bus: disk, device: 0 },
      pci1: { bus: conventional, device: 1 },
      pci2: { bus: conventional, device: 2 },
    };
  }

  /** The guest IOMMU. */
  get iommu(): GuestIommu {
    return this.#model.iommu;
  }

  /** What is plugged at `slot`; throws when nothing is. */
  device(slot: Slot): PluggedDevice {
    return this.#at(slot).device;
  }

  tells(line: string): readonly string[] {
    return [line];
  }

  newGuest(): Promise<GuestSide> {
    return Promise.resolve(this.#model.newGuest(new PageAllocator([MACHINE_RAM.guestStructures])));
  }

  async plug(slot: Slot, limits: SinkLimits): Promise<'done' | 'refused'> {
    const { host, holds } = this.#newHost(slot, limits);
    try {
      const device = await this.machine.plug({ ...this.#places[slot], name: slot }, host);
      this.#plugged.set(slot, { device, host: holds, told: NO_MESSAGES });
      return 'done';
    } catch (error) {
      if (error instanceof PlugRefusedError) return 'refused';
      throw error;
    }
  }

  async unplug(slot: Slot): Promise<void> {
    const { device } = this.#at(slot);
    this.#plugged.delete(slot);
    await this.machine.unplug(device);
  }

  async ledger(slot: Slot): Promise<readonly string[]> {
    const { device, host } = this.#at(slot);
    await this.#model.iommu.settled();
    await device.container.barrier();
    return [...host.mappings()].map(({ iova, pages, target, access }) =>
      ledgerLine(iova, pages, target, access),
    );
  }

  messages(slot: Slot): Messages {
    const plugged = this.#at(slot);
    const { map, unmap } = plugged.host.messages;
    const { told } = plugged;
    plugged.told = { map, unmap };
    return { maps: map - told.map, unmaps: unmap - told.unmap };
  }

  /** Tables are read whole, so that entries tell how many they were. */
  tables(slot: Slot): Promise<number> {
    const { report } = this.#at(slot).device;
    return Promise.resolve(Math.floor(report.entriesRead / TABLE_ENTRIES));
  }

  dma(access: 'r' | 'w', iova: bigint): Promise<void> {
    const transfer = access === 'r' ? dmaRead : dmaWrite;
    transfer(this.#edu, iova, new Uint8Array(4));
    return Promise.resolve();
  }

  async reset(): Promise<void> {
    this.#model.reset();
    await this.#model.iommu.settled();
  }

  async close(): Promise<void> {
    for (const slot of this.#plugged.keys()) {
      // eslint-disable-next-line no-await-in-loop -- one after the other, as an operator would
      await this.unplug(slot);
    }
  }

  #at(slot: Slot): Plugged {
    const plugged = this.#plugged.get(slot);
    if (plugged === undefined) throw new Error(`nothing is plugged at ${slot}`);
    return plugged;
  }
}

/** Hosts in memory that are as strict as `strictness`, unless a plug asks for exact unmaps. */
export function memoryHosts(strictness: HostStrictness): NewHost {
  return (_slot, limits) => {
    const holds = new MemoryHostIommu({
      strictness: limits.unmap === 'exact' ? 'vfio-user' : strictness,
      maxMappings: limits.maxMappings ?? PAGES_END,
      apertures: [{ start: 0, end: limits.end === undefined ? PAGES_END : pagesOfText(limits.end) }],
    });
    const { delay = 0 } = limits;
    return { host: delay > 0 ? new SlowHost(holds, delay) : holds, holds };
  };
}
