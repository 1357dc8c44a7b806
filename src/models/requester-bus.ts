import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  type DeviceRegion,
  type MemoryRegion,
  PAGES_END,
} from '../memory/index.ts';

/** Where translation and memory are placed; what is on top has more. */
const BELOW = 0;
const OVER_MEMORY = 1;
const ON_TOP = 2;

/**
 * What lies before a requester: memory as it is while its requests pass untranslated, or its IOMMU region; and on top, in
 * both cases, what no request is translated in (interrupts).
 */
export class RequesterBus {
  /** The requester's address space. */
  readonly space: AddressSpace;
  readonly #root: ContainerRegion;
  readonly #region: MemoryRegion;
  readonly #memory: AliasRegion;
  /** Memory with what lies over it. */
  readonly #direct: ContainerRegion;

  /** `memory` must outlive the bus; nothing of it is owned. Shows memory until {@link show} says otherwise. */
  constructor(name: string, region: MemoryRegion, memory: AddressSpace) {
    this.#region = region;
    this.#memory = new AliasRegion(`${name} untranslated`, memory.root, 0, memory.root.pages);
    this.#direct = new ContainerRegion(`${name} direct`, PAGES_END);
    this.#direct.add(this.#memory, 0);
    this.#root = new ContainerRegion(`${name} bus`, PAGES_END);
    this.#root.add(this.#direct, 0, BELOW);
    region.setEnabled(false);
    this.#root.add(region, 0, BELOW);
    this.space = new AddressSpace(`${name} as the device sees it`, this.#root, memory.topology);
  }

  /** Shows the IOMMU region, or memory. */
  show(translated: boolean): void {
    this.space.topology.transaction(() => {
      this.#direct.setEnabled(!translated);
      this.#region.setEnabled(translated);
    });
  }

  /** Places `device` on top of everything at page `start`. */
  addOnTop(device: DeviceRegion, start: number): void {
    this.#root.add(device, start, ON_TOP);
  }

  /** Places `region` over memory at page `start`; translated requests do not see it. */
  addOverMemory(region: MemoryRegion, start: number): void {
    this.#direct.add(region, start, OVER_MEMORY);
  }

  removeOverMemory(region: MemoryRegion): void {
    this.#direct.remove(region);
  }

  /** Places `region` at page `start` over the IOMMU region and memory, but below what is on top. */
  addOverAll(region: MemoryRegion, start: number): void {
    this.#root.add(region, start, OVER_MEMORY);
  }

  removeOverAll(region: MemoryRegion): void {
    this.#root.remove(region);
  }

  /** Ends the ties to memory; no listener may be left. */
  dispose(): void {
    this.space.dispose();
    this.#direct.remove(this.#memory);
    this.#memory.dispose();
  }
}

/** Whether a write to an interrupt range is a message: one aligned DWORD. */
export function isMessage(offset: number, data: Uint8Array): boolean {
  return data.length === 4 && offset % 4 === 0;
}
