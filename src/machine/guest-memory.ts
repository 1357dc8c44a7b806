import {
  AddressSpace,
  ContainerRegion,
  formatPage,
  MemoryTopology,
  PAGES_END,
  type RamBlock,
  RamRegion,
} from '../memory/index.ts';

/** RAM of a machine. */
export interface MachineRam {
  /** First guest-physical page. */
  readonly start: number;
  readonly block: RamBlock;
  /** ROM: devices may read it only. */
  readonly readonly?: boolean;
}

/** Guest-physical memory, with the tree that it is made of. */
export interface GuestMemory {
  readonly memory: AddressSpace;
  /** Root of the tree: RAM where there is RAM, holes everywhere else; more may be added. */
  readonly system: ContainerRegion;
  readonly topology: MemoryTopology;
}

/** Guest-physical memory with `ram` in it, and holes everywhere else. The blocks stay the caller's. */
export function guestMemory(ram: Iterable<MachineRam>): GuestMemory {
  const topology = new MemoryTopology();
  const system = new ContainerRegion('system', PAGES_END);
  for (const { start, block, readonly = false } of ram) {
    const kind = readonly ? 'ROM' : 'RAM';
    system.add(new RamRegion(`${kind} at ${formatPage(start)}`, block, { readonly }), start);
  }
  return { memory: new AddressSpace('guest memory', system, topology), system, topology };
}
