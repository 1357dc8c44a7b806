import { type Mapping } from '../../src/iommu/index.ts';
import {
  Access,
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  DenseRamBlock,
  DeviceRegion,
  MemoryTopology,
  type ObservedEvent,
  RamRegion,
} from '../../src/memory/index.ts';
import { type MemoryHostIommu, PlugRefusedError, VfioContainer } from '../../src/vfio/index.ts';
import type { HostIommu, Quarantine } from '../../src/vfio/index.ts';
import { MapRegion } from './map-region.ts';

/** Pages that a device can put on its bus in these tests. */
export const SPACE_PAGES: number = 2 ** 27;

/** Guest-physical places: two runs of RAM with a hole between them, a ROM, a device. */
export const LOW = { start: 0, pages: 0x100 } as const;
export const ROM = { start: 0x200, pages: 0x20 } as const;
export const BAR = { start: 0x300, pages: 0x10 } as const;
export const HIGH = { start: 0x400, pages: 0x800 } as const;
export const HOLE = 0x1000;

/**
 * A guest's memory, and what one device sees of it: all of it, or what an IOMMU maps, as a domain switch decides.
 */
export class World {
  readonly topology: MemoryTopology = new MemoryTopology();
  readonly memory: ContainerRegion = new ContainerRegion('memory', SPACE_PAGES);
  readonly low: RamRegion = new RamRegion('low RAM', new DenseRamBlock(LOW.pages));
  readonly high: RamRegion = new RamRegion('high RAM', new DenseRamBlock(HIGH.pages));
  readonly system: AddressSpace;
  readonly direct: AliasRegion;
  readonly iommu: MapRegion;
  readonly bus: ContainerRegion = new ContainerRegion('bus', SPACE_PAGES);
  readonly space: AddressSpace;
  readonly events: ObservedEvent[] = [];
  readonly quarantines: Quarantine[] = [];

  constructor(options: { readonly translated?: boolean; readonly leafBudget?: number } = {}) {
    const { translated = true, leafBudget = 2 ** 22 } = options;
    this.memory.add(this.low, LOW.start);
    this.memory.add(new RamRegion('ROM', new DenseRamBlock(ROM.pages), { readonly: true }), ROM.start);
    const registers = { read: () => true, write: () => true };
    this.memory.add(new DeviceRegion('BAR', BAR.pages, registers), BAR.start);
    this.memory.add(this.high, HIGH.start);
    this.system = new AddressSpace('system', this.memory, this.topology);
    this.direct = new AliasRegion('direct', this.memory, 0, SPACE_PAGES);
    this.iommu = new MapRegion(this.system, SPACE_PAGES, {
      budget: { entries: 2 ** 28, leaves: leafBudget },
    });
    this.direct.setEnabled(!translated);
    this.iommu.setEnabled(translated);
    this.bus.add(this.direct, 0);
    this.bus.add(this.iommu, 0);
    this.space = new AddressSpace('device', this.bus, this.topology);
  }

  /** Switches the device between translation and pass-through, as one change. */
  translate(translated: boolean): void {
    this.topology.transaction(() => {
      this.direct.setEnabled(!translated);
      this.iommu.setEnabled(translated);
    });
  }

  /** A container over the device's space that reports into `events` and `quarantines`. */
  container(host: HostIommu, name = 'nic'): VfioContainer {
    return new VfioContainer(this.space, host, {
      name,
      observer: { observe: (event) => this.events.push(event) },
      onQuarantine: (quarantine) => this.quarantines.push(quarantine),
    });
  }

  /** Events of one kind. */
  observed(kind: string): ObservedEvent[] {
    return this.events.filter((event) => event.kind === kind);
  }

  /** Whether nothing of a plug is left: no notifier, no listener of either space. */
  get traceless(): boolean {
    if (this.iommu.notifiers.length > 0) return false;
    return unheard(this.space) && unheard(this.system);
  }
}

/** Whether `space` has no listeners; it goes on as it was. */
function unheard(space: AddressSpace): boolean {
  try {
    space.dispose();
  } catch {
    return false;
  }
  space.root.addDependent(space);
  return true;
}

/** The error that a plug or release was refused with. */
export async function refusalOf(step: Promise<unknown>): Promise<PlugRefusedError> {
  const error: unknown = await step.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(error instanceof PlugRefusedError)) throw new Error(`expected a refused plug, got ${String(error)}`);
  return error;
}

/** What a mapping is to a device, as text, for complete lists. */
export function show({ iova, pages, target, access }: Mapping): string {
  return `${iova.toString(16)}+${pages.toString(16)} -> ${target.toString(16)} ${access}`;
}

/** Everything a host holds, as text. */
export function held(host: MemoryHostIommu): string[] {
  return [...host.mappings()].map(show);
}

/** What the device must be able to reach, page by page: `IOVA page -> block and page, access`. The naive reference. */
export function reachable(world: World): Map<number, string> {
  const pages = new Map<number, string>();
  for (const section of world.space.view.sections) {
    for (const { from, to, access } of leavesOf(world, section.start, section.end)) {
      const place = world.system.view.find(to);
      if (!(place?.region instanceof RamRegion)) continue;
      const allowed = place.region.readonly ? access & Access.Read : access;
      const name = place.region.name;
      if (allowed !== Access.None) pages.set(from, `${name} ${to - place.start + place.offset} ${allowed}`);
    }
  }
  return pages;
}

function* leavesOf(
  world: World,
  start: number,
  end: number,
): Iterable<{ from: number; to: number; access: Access }> {
  const region = world.space.view.find(start)?.region;
  if (region === world.iommu) {
    for (const { iova, pages, target, access } of world.iommu.leaves) {
      for (let i = 0; i < pages; i++) yield { from: iova + i, to: target + i, access };
    }
  } else {
    for (let page = start; page < end; page++) yield { from: page, to: page, access: Access.ReadWrite };
  }
}

/** What a host lets the device reach, in the words of `reachable`. */
export function reached(world: World, host: MemoryHostIommu): Map<number, string> {
  const names = new Map(
    world.system.view.sections.flatMap(({ region }) =>
      region instanceof RamRegion ? [[region.block, region.name]] : [],
    ),
  );
  const pages = new Map<number, string>();
  for (const { iova, pages: count, access, ram } of host.mappings()) {
    for (let i = 0; i < count; i++) {
      pages.set(iova + i, `${names.get(ram.block) ?? 'memory that is gone'} ${ram.page + i} ${access}`);
    }
  }
  return pages;
}

/** Where a host and the naive reference disagree, page by page; the first few pages. */
export function differences(world: World, host: MemoryHostIommu): string[] {
  const wanted = reachable(world);
  const found = reached(world, host);
  const pages = [...new Set([...wanted.keys(), ...found.keys()])].filter(
    (page) => wanted.get(page) !== found.get(page),
  );
  return pages
    .sort((a, b) => a - b)
    .slice(0, 4)
    .map(
      (page) => `${page.toString(16)}: ${found.get(page) ?? 'nothing'}, not ${wanted.get(page) ?? 'nothing'}`,
    );
}
