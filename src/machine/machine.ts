import type { GuestIommu, RequesterId } from '../iommu/index.ts';
import { Access, type AddressSpace, type Observer } from '../memory/index.ts';
import { DmaSpaces, PciBus, type PciFunction, requesterOf } from '../pci/index.ts';
import { type AttachReport, type HostIommu, type Quarantine, VfioContainer } from '../vfio/index.ts';

/** What a machine is made of. Nothing of it is owned. */
export interface MachineOptions {
  /** Guest-physical memory: see `guestMemory`. */
  readonly memory: AddressSpace;
  /** The IOMMU between devices and memory; without one, devices see memory itself. */
  readonly iommu?: GuestIommu;
  /** Hears what containers report. */
  readonly observer?: Observer;
}

/** Where a device is plugged. */
export interface PlugPlace {
  readonly bus: PciBus;
  /** Device number on the bus, 0 to 31. */
  readonly device: number;
  /** Function number, 0 to 7; 0 when left out. */
  readonly fn?: number;
  /** Name for people. */
  readonly name: string;
}

/** A VFIO device in a machine, from `plug` to `unplug`. */
export interface PluggedDevice {
  readonly fn: PciFunction;
  /** Under which ID the IOMMU sees it. */
  readonly requester: RequesterId;
  readonly container: VfioContainer;
  /** What the plug replayed. */
  readonly report: AttachReport;
}

/** A PCI hierarchy whose devices reach memory through an IOMMU, each mirrored into a host of its own. */
export class Machine {
  /** The root bus; bridges are attached to it. */
  readonly pci: PciBus = new PciBus();
  readonly #spaces: DmaSpaces;
  readonly #iommu: GuestIommu | undefined;
  readonly #observer: Observer | undefined;
  readonly #devices: Set<PluggedDevice> = new Set();

  constructor(options: MachineOptions) {
    this.#spaces = new DmaSpaces(options.memory, options.iommu);
    this.#iommu = options.iommu;
    this.#observer = options.observer;
  }

  /** Devices plugged, in the order in which they came. */
  get devices(): readonly PluggedDevice[] {
    return [...this.#devices];
  }

  /**
   * Plugs a VFIO device: takes the slot, and makes `host` equal to what the device may reach, existing mappings of
   * the guest's IOMMU included. All or nothing: when it fails the machine and the host are as before.
   *
   * @throws PlugRefusedError when the model or the host cannot serve the device, with the reason and the remedy; Error
   *   when the slot is taken
   */
  async plug(place: PlugPlace, host: HostIommu): Promise<PluggedDevice> {
    const fn = place.bus.attach(place.name, place.device, place.fn);
    const requester = requesterOf(fn);
    const container = new VfioContainer(this.#spaces.acquire(fn), host, {
      name: `${place.name} ${fn.bdf}`,
      ...(this.#observer === undefined ? {} : { observer: this.#observer }),
      onQuarantine: (quarantine) => this.#tellGuest(requester, quarantine),
    });
    try {
      const device = { fn, requester, container, report: await container.attach() };
      this.#devices.add(device);
      return device;
    } catch (error) {
      this.#spaces.release(fn);
      place.bus.detach(fn);
      throw error;
    }
  }

  /** Takes a device out; when it resolves its host holds nothing any more, or is lost. Throws when it is not plugged. */
  async unplug(device: PluggedDevice): Promise<void> {
    if (!this.#devices.delete(device)) throw new Error(`${device.fn.name} is not plugged in`);
    await device.container.detach();
    this.#spaces.release(device.fn);
    device.fn.bus.detach(device.fn);
  }

  /** A quarantine that no single mapping caused is told at address 0. */
  #tellGuest(requester: RequesterId, { mapping }: Quarantine): void {
    this.#iommu?.hostRefused(requester, mapping ?? { iova: 0, pages: 1, target: 0, access: Access.None });
  }
}
