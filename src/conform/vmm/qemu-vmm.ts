import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PageAllocator } from '../../guests/index.ts';
import { requesterId } from '../../iommu/index.ts';
import { type MappedFile, mapFile } from '../../linux/index.ts';
import { Access, type AddressSpace } from '../../memory/index.ts';
import {
  guestPage,
  PciConfig,
  type QemuBuild,
  QemuProcess,
  QmpError,
  sharedGuestMemory,
  VfioUserSink,
} from '../../qemu/index.ts';
import { DriverEnded, NotSupported } from '../driver.ts';
import type { GuestSide } from '../guest-side.ts';
import type { ConformModel, ModelInQemu } from '../model.ts';
import { REQUESTERS } from '../requesters.ts';
import type { MachineOptions, Messages, SinkLimits, Slot } from '../scenario.ts';
import { ledgerLine, pagesOfText, parseLedgerLine } from '../text.ts';
import { MACHINE_RAM, type Vmm } from '../vmm.ts';
import { WalkTrace } from './walk-trace.ts';

const PAGE_BYTES = 4096;
/** Releases from this on end by themselves when whoever started them does. */
const EXITS_WITH_PARENT = 11;
/** Milliseconds for which QEMU waits for an answer of a sink. Its own 5,000 are too few on a busy machine. */
const SINK_TIMEOUT = 60_000;

/** Where a slot is in QEMU's machine. */
const PLACES: Readonly<Record<Slot, { readonly bus: string; readonly addr: string }>> = {
  nic: { bus: 'rp1', addr: '0' },
  disk: { bus: 'rp3', addr: '0' },
  pci1: { bus: 'br1', addr: '1' },
  pci2: { bus: 'br1', addr: '2' },
};

/** Bridges with their buses, and the memory accesses that they pass. */
const BRIDGES = [
  { fn: requesterId(0, 3, 0), secondary: 1, subordinate: 1, window: 0xe000_0000 },
  { fn: requesterId(0, 4, 0), secondary: 2, subordinate: 3, window: 0xe020_0000 },
  { fn: requesterId(2, 0, 0), secondary: 3, subordinate: 3, window: 0xe020_0000 },
  { fn: requesterId(0, 6, 0), secondary: 4, subordinate: 4, window: 0xe040_0000 },
] as const;
const WINDOW_BYTES = 0x20_0000;

/** Registers of QEMU's edu device (docs/specs/edu.rst): a transfer runs when the clock has gone on for 100 ms. */
const EDU_BAR = 0xe080_0000;
const EDU_SOURCE = 0x80;
const EDU_DESTINATION = 0x88;
const EDU_COUNT = 0x90;
const EDU_COMMAND = 0x98;
const EDU_START = 1n;
const EDU_TO_MEMORY = 2n;
const EDU_BUFFER = 0x4_0000n;
const EDU_NANOSECONDS = 200_000_000;

/** Ports of a q35 machine's ACPI hotplug controller: a bus is selected, then bits are read or written for its slots. */
const HOTPLUG_DOWN = 0xcc4;
const HOTPLUG_EJECT = 0xcc8;
const HOTPLUG_BUS = 0xcd0;
const HOTPLUG_BUSES = 8;

/** How the hosts of VFIO devices are reached, where that differs from the usual. */
export interface QemuSinks {
  /** Their unmaps when a scenario says nothing of it; `contained` when left out. */
  readonly unmap?: 'exact';
  /** Gives the socket that QEMU connects to in place of a sink's own. */
  readonly front?: (socket: string) => Promise<string>;
}

/** What makes up a machine that has been started. */
interface QemuParts {
  readonly qemu: QemuProcess;
  readonly ram: MappedFile;
  /** For sockets and the trace; removed at the end. */
  readonly folder: string;
  readonly walks: WalkTrace | undefined;
  readonly sinks: QemuSinks;
}

/** A QEMU without a guest: ours drives its IOMMU over qtest, and devices of ours are plugged into it. */
export class QemuVmm implements Vmm {
  readonly memory: AddressSpace;
  /** The RAM that QEMU shows a device whose requests pass: all but the ROMs below 1 MiB. */
  readonly allMemory: readonly string[] = [
    ledgerLine(0, 0xc0, 0, Access.ReadWrite),
    ledgerLine(0x100, MACHINE_RAM.low.pages - 0x100, 0x100, Access.ReadWrite),
    ledgerLine(MACHINE_RAM.high.start, MACHINE_RAM.high.pages, MACHINE_RAM.high.start, Access.ReadWrite),
  ];
  readonly #qemu: QemuProcess;
  readonly #ram: MappedFile;
  readonly #pci: PciConfig;
  readonly #model: ModelInQemu;
  readonly #folder: string;
  readonly #walks: WalkTrace | undefined;
  readonly #sinks: Map<Slot, VfioUserSink> = new Map();
  readonly #reached: QemuSinks;
  /** Tables read during each plug. */
  readonly #tables: Map<Slot, number> = new Map();

  private constructor(parts: QemuParts, model: ConformModel, options: MachineOptions) {
    const { qemu, ram, folder, walks, sinks } = parts;
    this.#qemu = qemu;
    this.#reached = sinks;
    this.#ram = ram;
    this.#folder = folder;
    this.#walks = walks;
    this.memory = sharedGuestMemory(ram);
    this.#pci = new PciConfig(qemu.qtest);
    this.#model = model.inQemu(options, { memory: this.memory, qtest: qemu.qtest, pci: this.#pci });
  }

  /** Starts QEMU with the model's IOMMU. Rejects with NotSupported when this build has none like it. */
  static async start(
    build: QemuBuild,
    model: ConformModel,
    options: MachineOptions,
    sinks: QemuSinks,
  ): Promise<QemuVmm> {
    const iommu = model.qemuArguments(options, build);
    if (typeof iommu === 'string') throw new NotSupported(iommu);
    const folder = mkdtempSync(join(tmpdir(), 'viommu-conform-'));
    const { walkEvent } = model;
    const walks = walkEvent === undefined ? undefined : new WalkTrace(walkEvent, join(folder, 'walks'));
    let qemu: QemuProcess | undefined;
    let ram: MappedFile | undefined;
    try {
      qemu = await startQemu(build, [...iommu, ...(walks?.args ?? [])]);
      ram = mapFile(qemu.ramFile);
      const vmm = new QemuVmm({ qemu, ram, folder, walks, sinks }, model, options);
      await vmm.#setUpPci();
      return vmm;
    } catch (error) {
      ram?.close();
      await qemu?.kill();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * QEMU's VFIO code knows read-only and the rest: what may be written may be read. A mapping of virtio-iommu goes to the
   * host in pieces that are aligned powers of two, for an entry of QEMU's IOTLB is an address and a mask.
   */
  tells(line: string): readonly string[] {
    const { iova, pages, target, access } = parseLedgerLine(line);
    const told = (access & Access.Write) === 0 ? access : Access.ReadWrite;
    const lines: string[] = [];
    for (let done = 0; done < pages; ) {
      const piece = alignedPiece(iova + done, pages - done);
      lines.push(ledgerLine(iova + done, piece, target + done, told));
      done += piece;
    }
    return lines;
  }

  newGuest(): Promise<GuestSide> {
    const allocator = new PageAllocator([MACHINE_RAM.guestStructures]);
    return this.#alive(() => this.#model.newGuest(allocator).then((guest) => this.#guarded(guest)));
  }

  async plug(slot: Slot, limits: SinkLimits): Promise<'done' | 'refused'> {
    const sink = await VfioUserSink.open(mkdtempSync(join(this.#folder, `${slot}-`)), {
      unmap: limits.unmap ?? this.#reached.unmap ?? 'contained',
      delay: limits.delay ?? 0,
      limits: {
        ...(limits.maxMappings === undefined ? {} : { maxMappings: limits.maxMappings }),
        ...(limits.end === undefined ? {} : { reachablePages: pagesOfText(limits.end) }),
      },
    });
    this.#sinks.set(slot, sink);
    const path = (await this.#reached.front?.(sink.socket)) ?? sink.socket;
    const before = this.#walks?.tables ?? 0;
    try {
      await this.#alive(() =>
        this.#qemu.qmp.execute('device_add', {
          driver: 'vfio-user-pci',
          id: slot,
          ...PLACES[slot],
          socket: { type: 'unix', path },
          'x-msg-timeout': SINK_TIMEOUT,
        }),
      );
      const after = this.#walks?.tables;
      if (after !== undefined) this.#tables.set(slot, after - before);
      return 'done';
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      this.#sinks.delete(slot);
      await sink.close();
      return 'refused';
    }
  }

  /** No guest runs that would let a device go, so that is done here. */
  async unplug(slot: Slot): Promise<void> {
    const { qmp, qtest } = this.#qemu;
    await this.#alive(async () => {
      const gone = qmp.next('DEVICE_DELETED');
      gone.catch(() => undefined);
      await qmp.execute('device_del', { id: slot });
      for (let bus = 0; bus < HOTPLUG_BUSES; bus++) {
        // eslint-disable-next-line no-await-in-loop -- registers that select each other
        await qtest.outPort(HOTPLUG_BUS, bus, 4);
        // eslint-disable-next-line no-await-in-loop
        const slots = await qtest.inPort(HOTPLUG_DOWN, 4);
        // eslint-disable-next-line no-await-in-loop
        if (slots !== 0) await qtest.outPort(HOTPLUG_EJECT, slots, 4);
      }
      await gone;
    });
    await this.#sinks.get(slot)?.close();
    this.#sinks.delete(slot);
  }

  async ledger(slot: Slot): Promise<readonly string[]> {
    // Answered when QEMU has carried out what was asked before.
    await this.#alive(() => this.#qemu.qmp.execute('query-status'));
    return this.#sink(slot)
      .mappings()
      .filter(({ shared }) => shared)
      .map(({ iova, size, offset, access }) =>
        ledgerLine(pagesOf(iova), pagesOf(size), guestPage(pagesOf(offset)), access),
      );
  }

  messages(slot: Slot): Messages {
    const sink = this.#sink(slot);
    const { maps, unmaps } = sink.counts;
    sink.takeEvents();
    return { maps, unmaps };
  }

  tables(slot: Slot): Promise<number> {
    const tables = this.#tables.get(slot);
    if (tables !== undefined) return Promise.resolve(tables);
    return Promise.reject(new NotSupported('this QEMU does not write the trace events of its table walks'));
  }

  async dma(access: 'r' | 'w', iova: bigint): Promise<void> {
    const { qtest } = this.#qemu;
    const write = (register: number, value: bigint): Promise<void> =>
      qtest.write(BigInt(EDU_BAR + register), value, 8);
    const toMemory = access === 'w';
    await this.#alive(async () => {
      await write(EDU_SOURCE, toMemory ? EDU_BUFFER : iova);
      await write(EDU_DESTINATION, toMemory ? iova : EDU_BUFFER);
      await write(EDU_COUNT, 4n);
      await write(EDU_COMMAND, EDU_START | (toMemory ? EDU_TO_MEMORY : 0n));
      await qtest.command(`clock_step ${EDU_NANOSECONDS}`);
    });
  }

  async reset(): Promise<void> {
    await this.#alive(async () => {
      const reset = this.#qemu.qmp.next('RESET');
      reset.catch(() => undefined);
      await this.#qemu.qmp.execute('system_reset');
      await reset;
      await this.#setUpPci();
    });
  }

  async close(): Promise<void> {
    await this.#qemu.kill();
    this.#ram.close();
    await Promise.all([...this.#sinks.values()].map((sink) => sink.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** What firmware would do. */
  async #setUpPci(): Promise<void> {
    for (const { fn, secondary, subordinate, window } of BRIDGES) {
      // eslint-disable-next-line no-await-in-loop -- configuration space is reached through one pair of ports
      await this.#pci.setUpBridge(fn, secondary, subordinate, { start: window, end: window + WINDOW_BYTES });
    }
    await this.#pci.enable(REQUESTERS.edu, EDU_BAR);
  }

  #sink(slot: Slot): VfioUserSink {
    const sink = this.#sinks.get(slot);
    if (sink === undefined) throw new Error(`nothing is plugged at ${slot}`);
    return sink;
  }

  /** A QEMU that ends meanwhile has ended the run, whatever the error. */
  async #alive<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!this.#qemu.running) await this.#ended();
      // Its pipes end a moment before the process is known to have.
      if (error instanceof Error && error.message.includes('QEMU is gone')) await this.#ended();
      throw error;
    }
  }

  async #ended(): Promise<never> {
    await this.#qemu.exited;
    throw new DriverEnded(this.#qemu.stderr.trim() || 'QEMU is gone without a word');
  }

  #guarded(guest: GuestSide): GuestSide {
    return {
      boot: () => this.#alive(() => guest.boot()),
      take: (step) => this.#alive(() => guest.take(step)),
      faults: () => this.#alive(() => guest.faults()),
    };
  }
}

function startQemu(build: QemuBuild, iommu: readonly string[]): Promise<QemuProcess> {
  return QemuProcess.start({
    executable: build.path,
    exitsWithParent: Number.parseInt(build.version, 10) >= EXITS_WITH_PARENT,
    ramBytes: (MACHINE_RAM.low.pages + MACHINE_RAM.high.pages) * PAGE_BYTES,
    args: [
      iommu,
      ['-device', 'pcie-root-port,id=rp1,chassis=1,addr=3'],
      ['-device', 'pcie-root-port,id=rp2,chassis=2,addr=4'],
      ['-device', 'pcie-pci-bridge,id=br1,bus=rp2,addr=0'],
      ['-device', 'edu,addr=5,dma_mask=0xffffffffffffffff'],
      ['-device', 'pcie-root-port,id=rp3,chassis=3,addr=6'],
    ].flat(),
  });
}

/** Pages of the largest aligned power of two that begins at `page` and has `most` pages or fewer. */
function alignedPiece(page: number, most: number): number {
  let pages = 1;
  while (pages * 2 <= most && page % (pages * 2) === 0) pages *= 2;
  return pages;
}

function pagesOf(bytes: bigint): number {
  return Number(bytes >> 12n);
}
