/** A QEMU machine without a guest: its AMD-Vi unit is driven by our guest driver, its tables lie in shared RAM. @module */
import { onTestFinished } from 'vitest';
import { AmdviGuestDriver, type GuestDomain, PageAllocator } from '../../../src/guests/index.ts';
import { requesterId } from '../../../src/iommu/index.ts';
import { type MappedFile, mapFile } from '../../../src/linux/index.ts';
import { Access } from '../../../src/memory/index.ts';
import {
  amdviCapabilityHeader,
  PciConfig,
  QemuProcess,
  QtestAmdviRegisters,
  sharedGuestMemory,
} from '../../../src/qemu/index.ts';
import { QEMU } from './find-qemu.ts';
import { Sink } from './sink.ts';
import { unplugFrom } from './unplug.ts';

const RAM_BYTES = 4 * 2 ** 30;
/** At the end of the RAM below 4 GiB; what is mapped in tests lies elsewhere. */
const TABLES = { start: 0x7_c000, end: 0x8_0000 };

const ROOT_PORT = requesterId(0, 3, 0);

/** Where a device is plugged, and the requester that it is there. */
export const AMDVI_SLOT = { bus: 'rp1', addr: '0', requester: requesterId(1, 0, 0) } as const;

/**
 * A machine with a device that was plugged and then attached to a domain with four pages from 0x1000 on. `told` is what
 * the device heard of the attachment; {@link Sink.take} begins after it.
 */
export async function pluggedAndTranslated(): Promise<{
  readonly machine: QemuAmdviMachine;
  readonly domain: GuestDomain;
  readonly sink: Sink;
  readonly told: readonly string[];
}> {
  const machine = await QemuAmdviMachine.start();
  const sink = await Sink.serve();
  await machine.plug(sink.socket);
  const domain = machine.driver.createDomain({ mode: 3 });
  await machine.driver.map(domain, 0x1000, 4, 0x40, Access.ReadWrite, { leafPages: 1 });
  sink.take();
  await machine.driver.attachDevice(AMDVI_SLOT.requester, domain);
  return { machine, domain, sink, told: sink.take() };
}

/** 2 GiB of RAM at 0 and 2 GiB at 4 GiB, an AMD-Vi unit with DMA remapping, a root port. */
export class QemuAmdviMachine {
  readonly qemu: QemuProcess;
  readonly registers: QtestAmdviRegisters;
  readonly driver: AmdviGuestDriver;

  private constructor(qemu: QemuProcess, ram: MappedFile, registers: QtestAmdviRegisters, header: number) {
    this.qemu = qemu;
    this.registers = registers;
    this.driver = new AmdviGuestDriver({
      memory: sharedGuestMemory(ram),
      registers,
      allocator: new PageAllocator([TABLES]),
      settled: () => registers.settled(),
      capabilityHeader: header,
    });
  }

  /** Starts QEMU, does what firmware would, and boots the driver. QEMU ends with the test. */
  static async start(boot: Parameters<AmdviGuestDriver['boot']>[0] = {}): Promise<QemuAmdviMachine> {
    const qemu = await QemuProcess.start({
      executable: QEMU,
      ramBytes: RAM_BYTES,
      args: ['-device', 'amd-iommu,dma-remap=on', '-device', 'pcie-root-port,id=rp1,chassis=1,addr=3'],
    });
    onTestFinished(() => qemu.kill());
    const ram = mapFile(qemu.ramFile);
    onTestFinished(() => ram.close());
    const pci = new PciConfig(qemu.qtest);
    await pci.setUpBridge(ROOT_PORT, 1, 1, { start: 0xe000_0000, end: 0xe020_0000 });
    const registers = await QtestAmdviRegisters.of(qemu.qtest);
    const machine = new QemuAmdviMachine(qemu, ram, registers, await amdviCapabilityHeader(pci));
    await machine.driver.boot(boot);
    return machine;
  }

  /** Hotplugs the device that is served at `socket`. */
  async plug(socket: string): Promise<void> {
    await this.qemu.qmp.execute('device_add', {
      driver: 'vfio-user-pci',
      id: 'nic',
      bus: AMDVI_SLOT.bus,
      addr: AMDVI_SLOT.addr,
      socket: { type: 'unix', path: socket },
      'x-msg-timeout': 60_000,
    });
  }

  /** Unplugs it again. */
  async unplug(): Promise<void> {
    await unplugFrom(this.qemu, 'nic');
  }
}
