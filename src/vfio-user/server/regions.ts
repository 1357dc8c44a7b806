import { PAGE_SIZE, PageCursor, type RamBlock } from '../../memory/index.ts';
import type { Descriptor } from '../descriptor.ts';
import { PCI_REGIONS, type RegionInfo, RegionIndex } from '../wire/index.ts';
import type { ConfigSpace } from './config-space.ts';
import type { DeviceInterrupts } from './interrupts.ts';
import { MsixArea } from './msix-area.ts';
import type { Bar, PciDevice, SharedRegion } from './pci-device.ts';

/** Reads and writes of a region, whatever is behind it. The caller has checked that an access is inside. */
export interface RegionHandler {
  read(offset: number, data: Uint8Array): void | Promise<void>;
  write(offset: number, data: Uint8Array): void | Promise<void>;
}

/** A region of the device; one that it lacks has size 0. */
export interface Region {
  /** Bytes. */
  readonly size: number;
  readonly handler: RegionHandler | undefined;
  /** The memory behind it that a client may map. */
  readonly memory: SharedRegion | undefined;
}

const ABSENT: Region = { size: 0, handler: undefined, memory: undefined };

/** The nine regions of a PCI device: BARs, ROM, configuration space, VGA. */
export class Regions {
  readonly #regions: readonly Region[];
  readonly #msix: MsixArea | undefined;

  /** `device` has been checked. */
  constructor(device: PciDevice, config: ConfigSpace, interrupts: DeviceInterrupts) {
    const regions = Array.from({ length: PCI_REGIONS }, (): Region => ABSENT);
    device.bars?.forEach((bar, number) => {
      if (bar === undefined) return;
      const { size, memory } = bar;
      regions[number] = {
        size,
        memory,
        handler: memory === undefined ? bar : memoryHandler(bar, memory.ram),
      };
    });
    const bar = device.msix === undefined ? undefined : device.bars?.[device.msix.bar];
    if (device.msix !== undefined && bar !== undefined && bar.memory === undefined) {
      this.#msix = new MsixArea(bar, device.msix, interrupts);
      regions[device.msix.bar] = { size: bar.size, memory: undefined, handler: this.#msix };
    }
    regions[RegionIndex.CONFIG] = { size: config.size, memory: undefined, handler: config };
    this.#regions = regions;
  }

  /** The region; undefined when no device has one of that index. */
  get(index: number): Region | undefined {
    return this.#regions[index];
  }

  /** What the server keeps in BARs is as after power-on. */
  reset(): void {
    this.#msix?.reset();
  }
}

/** What DEVICE_GET_REGION_INFO says about a region, and the descriptor that goes with it. */
export function describeRegion(
  region: Region,
  index: number,
  passesDescriptors: boolean,
): { info: Omit<RegionInfo, 'argsz'>; descriptor: Descriptor | undefined } {
  const exists = region.size > 0;
  const share = passesDescriptors ? region.memory?.ram.share : undefined;
  const areas = share === undefined ? undefined : region.memory?.areas;
  const info = {
    index,
    read: exists,
    write: exists,
    mmap: share !== undefined,
    size: BigInt(region.size),
    offset: share?.offset ?? 0n,
  };
  return {
    info: areas === undefined ? info : { ...info, sparse: areas },
    descriptor: share?.descriptor,
  };
}

function memoryHandler(bar: Bar, ram: RamBlock): RegionHandler {
  return {
    read: (offset, data) =>
      bar.read === undefined ? copy(ram, offset, data, false) : bar.read(offset, data),
    write: (offset, data) =>
      bar.write === undefined ? copy(ram, offset, data, true) : bar.write(offset, data),
  };
}

function copy(ram: RamBlock, offset: number, data: Uint8Array, isWrite: boolean): void {
  const cursor = new PageCursor();
  for (let done = 0; done < data.length; ) {
    const at = offset + done;
    const within = at % PAGE_SIZE;
    const piece = data.subarray(done, done + PAGE_SIZE - within);
    ram.locate(Math.floor(at / PAGE_SIZE), cursor, isWrite);
    const bytes = cursor.bytes();
    if (isWrite) bytes.set(piece, within);
    else piece.set(bytes.subarray(within, within + piece.length));
    done += piece.length;
  }
}
