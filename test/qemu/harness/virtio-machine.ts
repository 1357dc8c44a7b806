/** A QEMU machine without a guest: its virtio-iommu is driven by our guest driver, queues lie in shared RAM. @module */
import { onTestFinished } from 'vitest';
import { EDU_BUFFER_START, EduDma, EduRegister } from '../../../src/devices/index.ts';
import { PageAllocator, type VirtioBootOptions, VirtioIommuGuestDriver } from '../../../src/guests/index.ts';
import { requesterId } from '../../../src/iommu/index.ts';
import { type MappedFile, mapFile } from '../../../src/linux/index.ts';
import {
  PciConfig,
  QemuProcess,
  QtestVirtioPci,
  sharedGuestMemory,
  type SinkOptions,
} from '../../../src/qemu/index.ts';
import { QEMU } from './find-qemu.ts';
import { Sink } from './sink.ts';
import { unplugFrom } from './unplug.ts';

const RAM_BYTES = 4 * 2 ** 30;
/** At the end of the RAM below 4 GiB; what is mapped in tests lies elsewhere. */
const QUEUES = { start: 0x7_c000, end: 0x8_0000 };

const IOMMU = requesterId(0, 2, 0);
const ROOT_PORTS = [requesterId(0, 3, 0), requesterId(0, 5, 0)] as const;
const BRIDGE_PORT = requesterId(0, 4, 0);
const BRIDGE = requesterId(3, 0, 0);

const BAR = 0xe100_0000n;

/** Where a device can be plugged: its bus and slot, and where memory accesses reach it. */
export const VIRTIO_SLOTS = {
  express: { bus: 'rp1', addr: '0', fn: requesterId(1, 0, 0), bar: 0xe000_0000 },
  other: { bus: 'rp3', addr: '0', fn: requesterId(2, 0, 0), bar: 0xe020_0000 },
  conventional: { bus: 'br1', addr: '1', fn: requesterId(4, 1, 0), bar: 0xe040_0000 },
  neighbour: { bus: 'br1', addr: '2', fn: requesterId(4, 2, 0), bar: 0xe050_0000 },
} as const;

/** How a machine differs from the usual one. */
export interface QemuVirtioMachineOptions {
  /** Of the virtio-iommu-pci device, each after a comma. */
  readonly properties?: string;
  readonly boot?: VirtioBootOptions;
  /** Further devices of QEMU's own, as `-device` takes them. */
  readonly devices?: readonly string[];
}

/** A machine in which endpoints that are attached to nothing reach nothing. */
export const NO_BYPASS: QemuVirtioMachineOptions = { properties: ',boot-bypass=off' };

/** A machine with a device in the root port that is attached to domain 1. */
export async function pluggedAndAttached(
  options: QemuVirtioMachineOptions = {},
  sinkOptions: SinkOptions = {},
): Promise<{ readonly machine: QemuVirtioMachine; readonly sink: Sink }> {
  const machine = await QemuVirtioMachine.start(options);
  const sink = await Sink.serve(sinkOptions);
  await machine.plug(sink.socket);
  await machine.driver.attach(VIRTIO_SLOTS.express.fn, 1);
  return { machine, sink };
}

/** 2 GiB of RAM at 0 and 2 GiB at 4 GiB, a virtio-iommu, two root ports and a bridge. */
export class QemuVirtioMachine {
  readonly qemu: QemuProcess;
  readonly pci: PciConfig;
  readonly transport: QtestVirtioPci;
  readonly driver: VirtioIommuGuestDriver;

  private constructor(qemu: QemuProcess, ram: MappedFile, pci: PciConfig, transport: QtestVirtioPci) {
    this.qemu = qemu;
    this.pci = pci;
    this.transport = transport;
    this.driver = new VirtioIommuGuestDriver({
      memory: sharedGuestMemory(ram),
      transport,
      allocator: new PageAllocator([QUEUES]),
    });
  }

  /** Starts QEMU, does what firmware would, and boots the driver. QEMU ends with the test. */
  static async start(options: QemuVirtioMachineOptions = {}): Promise<QemuVirtioMachine> {
    const { properties = '', boot = {}, devices = [] } = options;
    const qemu = await QemuProcess.start({
      executable: QEMU,
      ramBytes: RAM_BYTES,
      args: [
        // First: a device that was there before it would not be behind it.
        ['-device', `virtio-iommu-pci,addr=2,granule=4k${properties}`],
        ['-device', 'pcie-root-port,id=rp1,chassis=1,addr=3'],
        ['-device', 'pcie-root-port,id=rp2,chassis=2,addr=4'],
        ['-device', 'pcie-root-port,id=rp3,chassis=3,addr=5'],
        ['-device', 'pcie-pci-bridge,id=br1,bus=rp2,addr=0'],
        devices.flatMap((device) => ['-device', device]),
      ].flat(),
    });
    onTestFinished(() => qemu.kill());
    const ram = mapFile(qemu.ramFile);
    onTestFinished(() => ram.close());
    const pci = new PciConfig(qemu.qtest);
    await pci.setUpBridge(ROOT_PORTS[0], 1, 1, window(VIRTIO_SLOTS.express.bar));
    await pci.setUpBridge(ROOT_PORTS[1], 2, 2, window(VIRTIO_SLOTS.other.bar));
    await pci.setUpBridge(BRIDGE_PORT, 3, 4, window(VIRTIO_SLOTS.conventional.bar));
    await pci.setUpBridge(BRIDGE, 4, 4, window(VIRTIO_SLOTS.conventional.bar));
    const machine = new QemuVirtioMachine(
      qemu,
      ram,
      pci,
      await QtestVirtioPci.of(qemu.qtest, pci, IOMMU, BAR),
    );
    await machine.driver.boot(boot);
    return machine;
  }

  /** Hotplugs the device that is served at `socket`. */
  async plug(socket: string, slot: keyof typeof VIRTIO_SLOTS = 'express', id: string = slot): Promise<void> {
    const { bus, addr } = VIRTIO_SLOTS[slot];
    await this.qemu.qmp.execute('device_add', {
      driver: 'vfio-user-pci',
      id,
      bus,
      addr,
      socket: { type: 'unix', path: socket },
      'x-msg-timeout': 60_000,
    });
  }

  /** Has QEMU's own edu device in `slot` read `bytes` bytes at `iova`. Its DMA takes 100 ms of a clock that stands still. */
  async eduReads(slot: keyof typeof VIRTIO_SLOTS, iova: bigint, bytes: number): Promise<void> {
    const { fn, bar } = VIRTIO_SLOTS[slot];
    const { qtest } = this.qemu;
    await this.pci.enable(fn, bar);
    await qtest.write(BigInt(bar + EduRegister.DmaSource), iova, 8);
    await qtest.write(BigInt(bar + EduRegister.DmaDestination), EDU_BUFFER_START, 8);
    await qtest.write(BigInt(bar + EduRegister.DmaCount), BigInt(bytes), 8);
    await qtest.write(BigInt(bar + EduRegister.DmaCommand), BigInt(EduDma.Start), 8);
    await qtest.command('clock_step 200000000');
  }

  /** Unplugs a device. Resolves when QEMU says that it is gone; no guest runs that would let it go, so that is done here. */
  async unplug(id: string): Promise<void> {
    await unplugFrom(this.qemu, id);
  }
}

function window(start: number): { readonly start: number; readonly end: number } {
  return { start, end: start + 0x20_0000 };
}
