import { PageAllocator } from '../../src/guests/page-allocator.ts';
import type { GuestDriverOptions } from '../../src/guests/driver/guest-driver.ts';
import { VtdGuestDriver } from '../../src/guests/vtd-driver/driver.ts';
import type { RegisterAccess } from '../../src/guests/driver/registers.ts';
import { type RequesterId, requesterId } from '../../src/iommu/index.ts';
import { type AddressSpace, PageCursor, type PageRange } from '../../src/memory/index.ts';
import { type Capability, spec, VtdIommu } from '../../src/models/vtd/index.ts';
import { guestMemory } from '../support/guest-memory.ts';
import { walkedLeaves } from './driver-leaves.ts';

export const NIC: RequesterId = requesterId(2, 0, 0);
export const DISK: RequesterId = requesterId(0, 0x1f, 2);

/** RAM that the driver may take pages from; what is mapped lies below it. */
export const TABLE_RAM: PageRange = { start: 2 ** 21, end: 2 ** 21 + 4096 };

/** A unit with everything that the driver can use. */
export const CAPABILITY: Capability = {
  ...spec.BASE_CAPABILITY,
  SAGAW: spec.SAGAW_39 | spec.SAGAW_48 | spec.SAGAW_57,
  MGAW: 57,
  SMTS: true,
  SSTS: true,
  RPS: true,
  PASID: true,
  PSS: 19,
};

export interface MachineOptions extends Pick<GuestDriverOptions, 'invalidation' | 'settled'> {
  readonly capability?: Partial<Capability>;
  readonly tableRam?: PageRange;
}

/** 8 GiB of RAM to map, RAM for tables above it, a unit and a driver that has not booted. */
export class DriverMachine {
  readonly memory: AddressSpace;
  readonly unit: VtdIommu;
  readonly ear: QueueEar;
  readonly allocator: PageAllocator;
  readonly driver: VtdGuestDriver;

  constructor(options: MachineOptions = {}) {
    const { capability, tableRam = TABLE_RAM, ...rest } = options;
    this.memory = guestMemory([0, 2 ** 21], [tableRam.start, tableRam.end - tableRam.start]).space;
    this.unit = new VtdIommu({ memory: this.memory, capability: { ...CAPABILITY, ...capability } });
    this.ear = new QueueEar(this.unit, this.memory);
    this.allocator = new PageAllocator([tableRam]);
    const settled = rest.settled ?? (() => this.unit.settled());
    this.driver = new VtdGuestDriver({
      memory: this.memory,
      registers: this.ear,
      allocator: this.allocator,
      ...rest,
      settled,
    });
  }

  /** What the unit's tables hold for a requester: `iova+pages>target access`, page numbers in hexadecimal. */
  leaves(requester: RequesterId, index = 0): string[] {
    return walkedLeaves(this.unit, requester, index);
  }
}

const NAMES: Readonly<Record<number, string>> = {
  [spec.TYPE_CC_INV_DSC]: 'context',
  [spec.TYPE_IOTLB_INV_DSC]: 'iotlb',
  [spec.TYPE_INV_WAIT_DSC]: 'wait',
  [spec.TYPE_PC_INV_DSC]: 'pasid-cache',
  [spec.TYPE_P_IOTLB_INV_DSC]: 'pasid-iotlb',
};

/** Sits between driver and unit, and writes down the descriptors that each move of the tail hands over. */
export class QueueEar implements RegisterAccess {
  readonly #unit: RegisterAccess;
  readonly #memory: AddressSpace;
  #tail = 0;
  /** Waits are left out. */
  readonly #heard: string[] = [];
  /** Every register written, in order. */
  readonly written: number[] = [];

  constructor(unit: RegisterAccess, memory: AddressSpace) {
    this.#unit = unit;
    this.#memory = memory;
  }

  readRegister(offset: number, bytes: 4 | 8): bigint {
    return this.#unit.readRegister(offset, bytes);
  }

  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    this.written.push(offset);
    if (offset === spec.IQT_REG) this.#listen(Number(value));
    this.#unit.writeRegister(offset, value, bytes);
  }

  /** The descriptors since the last call, as short text. */
  take(): string[] {
    return this.#heard.splice(0);
  }

  #listen(tail: number): void {
    const iqa = this.#unit.readRegister(spec.IQA_REG, 8);
    const low = Number(iqa & 0xfffn);
    const size = 4096 << (low & spec.IQA_QS);
    const stride = (low & spec.IQA_DW) === 0 ? 16 : 32;
    for (; this.#tail !== tail; this.#tail = (this.#tail + stride) % size) {
      const cursor = new PageCursor();
      this.#memory.locate(Number(iqa >> 12n) + Math.floor(this.#tail / 4096), cursor);
      const first = cursor.base + (this.#tail % 4096) / 4;
      const text = describe([...cursor.words.subarray(first, first + stride / 4)]);
      if (text !== 'wait') this.#heard.push(text);
    }
  }
}

function describe(words: readonly number[]): string {
  const type = spec.descriptorType(words[0] ?? 0);
  const name = NAMES[type] ?? `type ${type}`;
  if (type === spec.TYPE_IOTLB_INV_DSC) {
    const { G, DID, AM, IH, ADDR } = spec.IOTLB_INV_DSC.fields;
    const domain = spec.readField(words, DID);
    const g = spec.readField(words, G);
    if (g === spec.IOTLB_GLOBAL) return 'iotlb global';
    if (g === spec.IOTLB_DOMAIN) return `iotlb domain ${domain}`;
    const hint = spec.readField(words, IH) === 1 ? ' ih' : '';
    const page = spec.readField(words, ADDR).toString(16);
    return `iotlb domain ${domain} page ${page} am ${spec.readField(words, AM)}${hint}`;
  }
  if (type === spec.TYPE_CC_INV_DSC) {
    const { G, DID, SID } = spec.CC_INV_DSC.fields;
    const g = spec.readField(words, G);
    if (g === spec.CC_GLOBAL) return 'context global';
    const domain = `context domain ${spec.readField(words, DID)}`;
    return g === spec.CC_DOMAIN ? domain : `${domain} source ${spec.readField(words, SID).toString(16)}`;
  }
  if (type === spec.TYPE_PC_INV_DSC || type === spec.TYPE_P_IOTLB_INV_DSC) {
    const { G, DID, PASID } = spec.PC_INV_DSC.fields;
    const global = type === spec.TYPE_PC_INV_DSC && spec.readField(words, G) === spec.PC_GLOBAL;
    return global
      ? `${name} global`
      : `${name} domain ${spec.readField(words, DID)} pasid ${spec.readField(words, PASID)}`;
  }
  return name;
}
