import {
  AddressSpace,
  ContainerRegion,
  MemoryTopology,
  PAGES_END,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';

/** Guest-physical memory for tests: what `ram` lists, and holes. */
export interface GuestMemory {
  readonly topology: MemoryTopology;
  readonly root: ContainerRegion;
  readonly space: AddressSpace;
  /** The RAM regions, in the order of the list. */
  readonly ram: readonly RamRegion[];
}

/** A guest-physical address space with sparse RAM at `[first page, pages]` each. */
export function guestMemory(...ram: readonly (readonly [number, number])[]): GuestMemory {
  const topology = new MemoryTopology();
  const root = new ContainerRegion('guest-physical', PAGES_END);
  const regions = ram.map(([start, pages], i) => {
    const region = new RamRegion(`ram${i}`, new SparseRamBlock(pages));
    root.add(region, start);
    return region;
  });
  return { topology, root, space: new AddressSpace('guest-physical', root, topology), ram: regions };
}
