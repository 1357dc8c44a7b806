import type { GuestIommu } from '../iommu/index.ts';
import type { AddressSpace } from '../memory/index.ts';
import type { PageAllocator } from '../guests/index.ts';
import type { PciConfig, QemuBuild, QtestClient } from '../qemu/index.ts';
import type { GuestSide } from './guest-side.ts';
import type { MachineOptions } from './scenario.ts';

/** Our model of an IOMMU in a machine, as scenarios need it. */
export interface ModelInProcess {
  readonly iommu: GuestIommu;
  newGuest(allocator: PageAllocator): GuestSide;
  /** As after power-on. */
  reset(): void;
}

/** QEMU's IOMMU, reached from outside. */
export interface ModelInQemu {
  /** A guest for it; also after a reset of the machine, when PCI functions have to be set up anew. */
  newGuest(allocator: PageAllocator): Promise<GuestSide>;
}

/** How scenarios get at one kind of IOMMU. */
export interface ConformModel {
  /** Our own, over `memory`. */
  inProcess(options: MachineOptions, memory: AddressSpace): ModelInProcess;
  /** QEMU's arguments that make one; a sentence when `build` has none like that. */
  qemuArguments(options: MachineOptions, build: QemuBuild): readonly string[] | string;
  /** QEMU's trace event for every table that it reads, where it has one. */
  readonly walkEvent?: string;
  /** QEMU's, once it runs; `memory` is the guest's. */
  inQemu(options: MachineOptions, machine: QemuAccess): ModelInQemu;
}

/** What a running QEMU offers. */
export interface QemuAccess {
  readonly memory: AddressSpace;
  readonly qtest: QtestClient;
  readonly pci: PciConfig;
}
