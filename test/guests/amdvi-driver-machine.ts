import { AmdviGuestDriver, type AmdviGuestDriverOptions } from '../../src/guests/amdvi-driver/driver.ts';
import type { RegisterAccess } from '../../src/guests/driver/registers.ts';
import { PageAllocator } from '../../src/guests/page-allocator.ts';
import { formatRequesterId, type RequesterId, requesterId } from '../../src/iommu/index.ts';
import { type AddressSpace, PageCursor, type PageRange } from '../../src/memory/index.ts';
import { AmdviIommu, type Capability, spec } from '../../src/models/amdvi/index.ts';
import { guestMemory } from '../support/guest-memory.ts';
import { walkedLeaves } from './driver-leaves.ts';

export const NIC: RequesterId = requesterId(2, 0, 0);
export const DISK: RequesterId = requesterId(0, 0x1f, 2);

/** RAM that the driver may take pages from; what is mapped lies below it. */
export const TABLE_RAM: PageRange = { start: 2 ** 21, end: 2 ** 21 + 4096 };
/** Room for the entries of buses 0 to 3. */
export const DEVICE_TABLE_PAGES = 8;

export interface MachineOptions extends Pick<AmdviGuestDriverOptions, 'invalidation' | 'settled'> {
  readonly capability?: Partial<Capability>;
  readonly tableRam?: PageRange;
}

/** 8 GiB of RAM to map, RAM for tables above it, a unit and a driver that has not booted. */
export class AmdviDriverMachine {
  readonly memory: AddressSpace;
  readonly unit: AmdviIommu;
  readonly ear: CommandEar;
  readonly allocator: PageAllocator;
  readonly driver: AmdviGuestDriver;

  constructor(options: MachineOptions = {}) {
    const { capability, tableRam = TABLE_RAM, ...rest } = options;
    this.memory = guestMemory([0, 2 ** 21], [tableRam.start, tableRam.end - tableRam.start]).space;
    const offered = { ...spec.BASE_CAPABILITY, ...capability };
    this.unit = new AmdviIommu({ memory: this.memory, capability: offered });
    this.ear = new CommandEar(this.unit, this.memory);
    this.allocator = new PageAllocator([tableRam]);
    const settled = rest.settled ?? (() => this.unit.settled());
    this.driver = new AmdviGuestDriver({
      memory: this.memory,
      registers: this.ear,
      allocator: this.allocator,
      capabilityHeader: spec.encodeCapabilityHeader(offered),
      ...rest,
      settled,
    });
  }

  /** What the unit's tables hold for a requester: `iova+pages>target access`, page numbers in hexadecimal. */
  leaves(requester: RequesterId): string[] {
    return walkedLeaves(this.unit, requester);
  }

  /** The two words of entry `index` of the table at page `table`. */
  entry(table: number, index: number): readonly [lo: number, hi: number] {
    const cursor = new PageCursor();
    this.memory.locate(table, cursor);
    return [cursor.words[cursor.base + index * 2] ?? 0, cursor.words[cursor.base + index * 2 + 1] ?? 0];
  }
}

/** Sits between driver and unit, and writes down the commands that each move of the tail hands over. */
export class CommandEar implements RegisterAccess {
  readonly #unit: RegisterAccess;
  readonly #memory: AddressSpace;
  #tail = 0;
  /** Waits are left out. */
  readonly #heard: string[] = [];
  /** Every register written, in order. */
  readonly written: number[] = [];
  /** Every register read. */
  readonly read: Set<number> = new Set();

  constructor(unit: RegisterAccess, memory: AddressSpace) {
    this.#unit = unit;
    this.#memory = memory;
  }

  readRegister(offset: number, bytes: 4 | 8): bigint {
    this.read.add(offset);
    return this.#unit.readRegister(offset, bytes);
  }

  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    this.written.push(offset);
    if (offset === spec.COMMAND_BUFFER_HEAD) this.#tail = Number(value);
    if (offset === spec.COMMAND_BUFFER_TAIL) this.#listen(Number(value));
    this.#unit.writeRegister(offset, value, bytes);
  }

  /** The commands since the last call, as short text. */
  take(): string[] {
    return this.#heard.splice(0);
  }

  #listen(tail: number): void {
    const base = this.#unit.readRegister(spec.COMMAND_BUFFER_BASE, 8);
    const size = 16 << Number((base >> 56n) & 0xfn);
    for (; this.#tail !== tail; this.#tail = (this.#tail + 16) % size) {
      const cursor = new PageCursor();
      this.#memory.locate(Number((base >> 12n) & 0xff_ffff_ffffn) + Math.floor(this.#tail / 4096), cursor);
      const first = cursor.base + (this.#tail % 4096) / 4;
      const text = describe([...cursor.words.subarray(first, first + 4)]);
      if (text !== 'wait') this.#heard.push(text);
    }
  }
}

function describe(words: readonly number[]): string {
  const opcode = spec.opcodeOf(words[1] ?? 0);
  switch (opcode) {
    case spec.COMPLETION_WAIT:
      return 'wait';
    case spec.INVALIDATE_DEVTAB_ENTRY: {
      const { DeviceID } = spec.INVALIDATE_DEVTAB_ENTRY_COMMAND.fields;
      return `entry ${formatRequesterId(spec.readField(words, DeviceID))}`;
    }
    case spec.INVALIDATE_IOMMU_PAGES: {
      const { DomainID, S, PDE, Address } = spec.INVALIDATE_IOMMU_PAGES_COMMAND.fields;
      const address = spec.readField(words, Address).toString(16);
      const flags = [S, PDE].map((field, i) =>
        spec.readField(words, field) === 1 ? ['s', 'pde'][i] : undefined,
      );
      const text = `pages domain ${spec.readField(words, DomainID)} address ${address}`;
      return [text, ...flags.filter((flag) => flag !== undefined)].join(' ');
    }
    case spec.INVALIDATE_IOMMU_ALL:
      return 'all';
    default:
      return `opcode ${opcode}`;
  }
}
