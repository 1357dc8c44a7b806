import { describe, expect, it } from 'vitest';
import {
  Access,
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  type DeviceHandler,
  DeviceRegion,
  dmaRead,
  dmaWrite,
  type IommuTlbEntry,
  MemoryRegion,
  MemoryTopology,
  PAGES_END,
  RamRegion,
  SparseRamBlock,
  TranslatingRegion,
} from '../../src/memory/index.ts';

const NO_MAPPING = { code: 7, reason: 'no mapping' };

/** Translates what its map holds, whatever the access; the map may be wrong on purpose. */
class MapIommu extends TranslatingRegion {
  readonly target: AddressSpace;
  readonly entries: IommuTlbEntry[] = [];
  readonly asked: [number, Access, number][] = [];

  constructor(target: AddressSpace) {
    super('iommu', PAGES_END);
    this.target = target;
  }

  override translatePage(page: number, access: Access, index: number): IommuTlbEntry {
    this.asked.push([page, access, index]);
    const found = this.entries.find(({ iova, pages }) => page >= iova && page < iova + pages);
    return found ?? { iova: page, pages: 1, target: 0, access: Access.None, fault: NO_MAPPING };
  }
}

/** Registers of two pages that write down what reaches them. */
class LoggingDevice implements DeviceHandler {
  readonly log: string[] = [];
  accepts = true;

  read(offset: number, data: Uint8Array): boolean {
    this.log.push(`read ${offset}+${data.length}`);
    if (this.accepts) data.fill(0xdd);
    return this.accepts;
  }

  write(offset: number, data: Uint8Array): boolean {
    this.log.push(`write ${offset}+${data.length} ${data[0]}`);
    return this.accepts;
  }
}

/** RAM in pages 0-3 and at the end of 64 bits, ROM in 6, a device in 8 and 9; all else is holes. */
function world() {
  const topology = new MemoryTopology();
  const root = new ContainerRegion('root', PAGES_END);
  const device = new LoggingDevice();
  root.add(new RamRegion('ram', new SparseRamBlock(4)), 0);
  root.add(new RamRegion('rom', new SparseRamBlock(1), { readonly: true }), 6);
  root.add(new DeviceRegion('device', 2, device), 8);
  root.add(new RamRegion('last', new SparseRamBlock(1)), PAGES_END - 1);
  const space = new AddressSpace('memory', root, topology);
  return { topology, root, space, device };
}

function spaceOf(region: MemoryRegion): AddressSpace {
  return new AddressSpace('bus', region, new MemoryTopology());
}

function behindIommu() {
  const { space, device } = world();
  const iommu = new MapIommu(space);
  return { memory: space, device, iommu, bus: spaceOf(iommu) };
}

const bytes = (length: number, from = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (from + i) & 0xff);

function read(space: AddressSpace, address: bigint, length: number): Uint8Array {
  const data = new Uint8Array(length);
  expect(dmaRead(space, address, data)).toEqual({ completed: length });
  return data;
}

describe('DMA to RAM', () => {
  it('reads what was written, over a page boundary', () => {
    const { space } = world();
    const data = bytes(5000);

    expect(dmaWrite(space, 0xff8n, data)).toEqual({ completed: 5000 });

    expect(read(space, 0xff8n, 5000)).toEqual(data);
  });

  it('touches nothing beside the bytes written', () => {
    const { space } = world();

    dmaWrite(space, 0x1000n, Uint8Array.of(1, 2));

    expect(read(space, 0xfffn, 4)).toEqual(Uint8Array.of(0, 1, 2, 0));
  });

  it('of nothing does nothing', () => {
    const { space } = world();

    expect(dmaWrite(space, 0x5000n, new Uint8Array(0))).toEqual({ completed: 0 });
  });

  it('reaches the last byte of 64 bits', () => {
    const { space } = world();

    expect(dmaWrite(space, (1n << 64n) - 2n, Uint8Array.of(1, 2))).toEqual({ completed: 2 });
  });

  it('stops at 2^64 with the bytes before it transferred', () => {
    const { space } = world();
    const address = (1n << 64n) - 2n;

    const result = dmaWrite(space, address, Uint8Array.of(1, 2, 3));

    expect(result).toEqual({ completed: 2, failure: { kind: 'beyond-64-bits', address: 1n << 64n } });
    expect(read(space, address, 2)).toEqual(Uint8Array.of(1, 2));
  });

  it('below address 0 transfers nothing', () => {
    const { space } = world();

    const result = dmaRead(space, -1n, new Uint8Array(2));

    expect(result).toEqual({ completed: 0, failure: { kind: 'beyond-64-bits', address: -1n } });
  });
});

describe('DMA through an alias', () => {
  it('reaches the page of the target that is shown there', () => {
    const { space, root } = world();
    root.add(
      new AliasRegion('alias', root.children.find(({ region }) => region.name === 'ram')!.region, 2, 2),
      0x10,
    );

    dmaWrite(space, 0x11004n, bytes(3));

    expect(read(space, 0x3004n, 3)).toEqual(bytes(3));
  });
});

describe('DMA that fails', () => {
  it('at a hole has transferred the page before it', () => {
    const { space } = world();

    const result = dmaWrite(space, 0x3ffcn, bytes(8));

    expect(result).toEqual({ completed: 4, failure: { kind: 'hole', address: 0x4000n } });
    expect(read(space, 0x3ffcn, 4)).toEqual(bytes(4));
  });

  it('in a hole transfers nothing though RAM follows', () => {
    const { space } = world();
    const data = bytes(8);

    const result = dmaRead(space, 0x5ffcn, data);

    expect(result).toEqual({ completed: 0, failure: { kind: 'hole', address: 0x5ffcn } });
    expect(data).toEqual(bytes(8));
  });

  it('at a region that is neither memory nor a device finds a hole', () => {
    const odd = new (class extends MemoryRegion {})('odd', 1);

    const result = dmaRead(spaceOf(odd), 0n, new Uint8Array(1));

    expect(result).toEqual({ completed: 0, failure: { kind: 'hole', address: 0n } });
  });

  it('writing ROM leaves the ROM as it was', () => {
    const { space } = world();

    const result = dmaWrite(space, 0x6010n, bytes(4));

    expect(result).toEqual({ completed: 0, failure: { kind: 'read-only', address: 0x6010n } });
    expect(read(space, 0x6010n, 4)).toEqual(new Uint8Array(4));
  });
});

describe('DMA to a device', () => {
  it('reaches its handler with the offset in the region', () => {
    const { space, device } = world();

    dmaWrite(space, 0x9010n, bytes(4, 0x55));

    expect(device.log).toEqual(['write 4112+4 85']);
  });

  it('is handed over page by page', () => {
    const { space, device } = world();

    const data = read(space, 0x8ffcn, 8);

    expect(device.log).toEqual(['read 4092+4', 'read 4096+4']);
    expect(data).toEqual(new Uint8Array(8).fill(0xdd));
  });

  it('that refuses ends there', () => {
    const { space, device } = world();
    device.accepts = false;

    const result = dmaRead(space, 0x8000n, new Uint8Array(4));

    expect(result).toEqual({ completed: 0, failure: { kind: 'device-refused', address: 0x8000n } });
  });
});

describe('DMA through an IOMMU', () => {
  it('goes where the translation says, page by page', () => {
    const { memory, iommu, bus } = behindIommu();
    iommu.entries.push({ iova: 0x100, pages: 1, target: 2, access: Access.ReadWrite });
    iommu.entries.push({ iova: 0x101, pages: 1, target: 0, access: Access.ReadWrite });

    expect(dmaWrite(bus, 0x100ffcn, bytes(8))).toEqual({ completed: 8 });

    expect(read(memory, 0x2ffcn, 4)).toEqual(bytes(4));
    expect(read(memory, 0x0n, 4)).toEqual(bytes(4, 5));
  });

  it('keeps the page within a large leaf', () => {
    const { memory, iommu, bus } = behindIommu();
    iommu.entries.push({ iova: 0x100, pages: 4, target: 0, access: Access.ReadWrite });

    dmaWrite(bus, 0x103004n, bytes(2));

    expect(read(memory, 0x3004n, 2)).toEqual(bytes(2));
  });

  it('tells the IOMMU what kind of access it is and for which PASID', () => {
    const { iommu, bus } = behindIommu();

    dmaRead(bus, 0x1000n, new Uint8Array(1), 5);
    dmaWrite(bus, 0x2000n, new Uint8Array(1));

    expect(iommu.asked).toEqual([
      [1, Access.Read, 5],
      [2, Access.Write, 0],
    ]);
  });

  it('that does not translate is reported with the fault and the address on the bus', () => {
    const { iommu, bus } = behindIommu();
    iommu.entries.push({ iova: 0x100, pages: 1, target: 0, access: Access.ReadWrite });

    const result = dmaRead(bus, 0x100ff0n, new Uint8Array(32));

    expect(result).toEqual({
      completed: 16,
      failure: { kind: 'translation', address: 0x101000n, fault: NO_MAPPING },
    });
  });

  it('into a hole is reported with the address on the bus', () => {
    const { iommu, bus } = behindIommu();
    iommu.entries.push({ iova: 0x100, pages: 1, target: 5, access: Access.ReadWrite });

    const result = dmaRead(bus, 0x100010n, new Uint8Array(1));

    expect(result).toEqual({ completed: 0, failure: { kind: 'hole', address: 0x100010n } });
  });

  it('beyond 64 bits of the target is a hole', () => {
    const { iommu, bus } = behindIommu();
    iommu.entries.push({ iova: 0x100, pages: 2, target: PAGES_END - 1, access: Access.ReadWrite });

    const result = dmaRead(bus, 0x101000n, new Uint8Array(1));

    expect(result).toEqual({ completed: 0, failure: { kind: 'hole', address: 0x101000n } });
  });

  it('passes a second one with plain addresses', () => {
    const { memory, iommu: inner, bus: middle } = behindIommu();
    const outer = new MapIommu(middle);
    outer.entries.push({ iova: 0x500, pages: 1, target: 0x100, access: Access.ReadWrite });
    inner.entries.push({ iova: 0x100, pages: 1, target: 1, access: Access.ReadWrite });

    dmaWrite(spaceOf(outer), 0x500000n, bytes(3), 9);

    expect(read(memory, 0x1000n, 3)).toEqual(bytes(3));
    expect(inner.asked).toEqual([[0x100, Access.Write, 0]]);
  });

  it('passes as many as eight', () => {
    let { space } = world();
    for (let i = 0; i < 8; i++) {
      const iommu = new MapIommu(space);
      iommu.entries.push({ iova: 0, pages: 4, target: 0, access: Access.ReadWrite });
      space = spaceOf(iommu);
    }

    expect(dmaRead(space, 0n, new Uint8Array(1))).toEqual({ completed: 1 });
  });

  it('is cut where one leads back to itself', () => {
    const root = new ContainerRegion('root', PAGES_END);
    const loop = spaceOf(root);
    const iommu = new MapIommu(loop);
    iommu.entries.push({ iova: 0, pages: PAGES_END, target: 0, access: Access.ReadWrite });
    root.add(iommu, 0);

    const result = dmaRead(loop, 0x1000n, new Uint8Array(1));

    expect(result).toEqual({ completed: 0, failure: { kind: 'too-many-translations', address: 0x1000n } });
    expect(iommu.asked).toHaveLength(9);
  });
});
