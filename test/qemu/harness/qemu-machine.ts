/** A QEMU machine without a guest: its VT-d unit is driven by our guest driver, its tables lie in shared RAM. @module */
import { PageAllocator, VtdGuestDriver } from '../../../src/guests/index.ts';
import { type RequesterId, requesterId } from '../../../src/iommu/index.ts';
import { type MappedFile, mapFile } from '../../../src/linux/index.ts';
import type { AddressSpace } from '../../../src/memory/index.ts';
import { PciConfig, QemuProcess, QtestVtdRegisters, sharedGuestMemory } from '../../../src/qemu/index.ts';
import { QEMU } from './find-qemu.ts';
import { type DmaText, leavesOf, sentByQemu } from './tables.ts';
import { unplugFrom } from './unplug.ts';

const RAM_BYTES = 4 * 2 ** 30;
/** At the end of the RAM below 4 GiB; what is mapped in tests lies elsewhere. */
const TABLES = { start: 0x7_c000, end: 0x8_0000 };

const ROOT_PORT = requesterId(0, 3, 0);
const BRIDGE_PORT = requesterId(0, 4, 0);
const BRIDGE = requesterId(2, 0, 0);

/** Where a device can be plugged, and the requester that it is there. */
export const SLOTS = {
  /** The only slot of a root port. */
  express: { bus: 'rp1', addr: '0', requester: requesterId(1, 0, 0), fn: requesterId(1, 0, 0) },
  /** A slot behind a PCIe-to-PCI bridge, whose functions all use the requester ID of its bus, device 0. */
  conventional: { bus: 'br1', addr: '1', requester: requesterId(3, 0, 0), fn: requesterId(3, 1, 0) },
} as const;

/** Memory accesses to these ranges reach the device in a slot. */
export const BAR_PLACES = {
  express: { start: 0xe000_0000, end: 0xe020_0000 },
  conventional: { start: 0xe020_0000, end: 0xe040_0000 },
} as const;

/** How a machine differs from the usual one. */
export interface QemuMachineOptions {
  readonly mode?: 'legacy' | 'scalable';
  /** Address width of second-stage tables; 48 when left out. */
  readonly awBits?: 39 | 48;
}

/** How a device is plugged. */
export interface PlugOptions {
  /** The root port when left out. */
  readonly slot?: keyof typeof SLOTS;
  readonly id?: string;
  /**
   * Milliseconds that QEMU waits for an answer, also of a server that is gone. Its own 5,000 are too few for many
   * mappings on a busy machine: it leaves out the last one (R13).
   */
  readonly timeout?: number;
}

/** 2 GiB of RAM at 0 and 2 GiB at 4 GiB, a VT-d unit with caching mode, a root port and a bridge. */
export class QemuMachine {
  readonly qemu: QemuProcess;
  readonly memory: AddressSpace;
  readonly registers: QtestVtdRegisters;
  readonly pci: PciConfig;
  readonly driver: VtdGuestDriver;
  readonly #ram: MappedFile;

  private constructor(qemu: QemuProcess, ram: MappedFile, registers: QtestVtdRegisters) {
    const memory = sharedGuestMemory(ram);
    this.qemu = qemu;
    this.#ram = ram;
    this.memory = memory;
    this.registers = registers;
    this.pci = new PciConfig(qemu.qtest);
    this.driver = new VtdGuestDriver({
      memory,
      registers,
      allocator: new PageAllocator([TABLES]),
      settled: () => registers.settled(),
    });
  }

  /** Starts QEMU, does what firmware would, and boots the driver with translation on. The caller kills it. */
  static async start(options: QemuMachineOptions = {}): Promise<QemuMachine> {
    const { mode = 'legacy', awBits = 48 } = options;
    const scalable = mode === 'scalable' ? ',scalable-mode=on' : '';
    const qemu = await QemuProcess.start({
      executable: QEMU,
      ramBytes: RAM_BYTES,
      args: [
        ['-device', `intel-iommu,caching-mode=on,aw-bits=${awBits}${scalable}`],
        ['-device', 'pcie-root-port,id=rp1,chassis=1,addr=3'],
        ['-device', 'pcie-root-port,id=rp2,chassis=2,addr=4'],
        ['-device', 'pcie-pci-bridge,id=br1,bus=rp2,addr=0'],
      ].flat(),
    });
    let ram: MappedFile | undefined;
    try {
      ram = mapFile(qemu.ramFile);
      const machine = new QemuMachine(qemu, ram, await QtestVtdRegisters.of(qemu.qtest));
      await machine.pci.setUpBridge(ROOT_PORT, 1, 1, BAR_PLACES.express);
      await machine.pci.setUpBridge(BRIDGE_PORT, 2, 3, BAR_PLACES.conventional);
      await machine.pci.setUpBridge(BRIDGE, 3, 3, BAR_PLACES.conventional);
      await machine.driver.boot({ mode });
      return machine;
    } catch (error) {
      ram?.close();
      await qemu.kill();
      throw error;
    }
  }

  /** Hotplugs the device that is served at `socket`. Resolves when QEMU says it is there; QmpError when it refuses. */
  async plug(socket: string, options: PlugOptions = {}): Promise<void> {
    const { slot = 'express', id = 'nic', timeout = 60_000 } = options;
    const { bus, addr } = SLOTS[slot];
    await this.qemu.qmp.execute('device_add', {
      driver: 'vfio-user-pci',
      id,
      bus,
      addr,
      socket: { type: 'unix', path: socket },
      'x-msg-timeout': timeout,
    });
  }

  /** Unplugs a device. Resolves when QEMU says that it is gone; no guest runs that would let it go, so that is done here. */
  async unplug(id = 'nic'): Promise<void> {
    await unplugFrom(this.qemu, id);
  }

  /** What the guest's tables hold for a requester now, read by our own walker with the registers that QEMU shows. */
  async leaves(requester: RequesterId = SLOTS.express.requester): Promise<DmaText[]> {
    return leavesOf(this.memory, await this.registers.dump(), requester);
  }

  /** The ledger that a sink must hold for these tables: see {@link sentByQemu}. */
  async expected(requester: RequesterId = SLOTS.express.requester): Promise<DmaText[]> {
    return sentByQemu(this.memory, await this.registers.dump(), requester);
  }

  /** Ends QEMU and lets go of its RAM: nothing of the machine can be used afterwards. */
  async kill(): Promise<void> {
    await this.qemu.kill();
    this.#ram.close();
  }
}
