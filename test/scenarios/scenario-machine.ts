/** A whole machine for scenarios: RAM, a VT-d unit, a guest's driver for it, PCI slots and hosts. @module */
import { PageAllocator, type GuestDomain, VtdGuestDriver } from '../../src/guests/index.ts';
import { type RequesterId, requesterId } from '../../src/iommu/index.ts';
import { type GuestMemory, guestMemory, Machine, type MachineRam } from '../../src/machine/index.ts';
import { type ObservedEvent, SparseRamBlock } from '../../src/memory/index.ts';
import { type Capability, lookupRequest, spec, VtdIommu } from '../../src/models/vtd/index.ts';
import type { PciBus } from '../../src/pci/index.ts';

/** A unit that offers every width, every leaf size, and scalable mode with second-stage tables. */
export const CAPABILITY: Capability = {
  ...spec.BASE_CAPABILITY,
  SAGAW: spec.SAGAW_39 | spec.SAGAW_48 | spec.SAGAW_57,
  MGAW: 57,
  SMTS: true,
  SSTS: true,
  RPS: true,
};

/** 2 GiB of RAM at 0, 2 GiB at 4 GiB, and between them what no RAM is. The driver's tables lie at the end of the first. */
const LOW_PAGES = 0x8_0000;
export const HIGH = 0x10_0000;
const HIGH_PAGES = 0x8_0000;
const TABLES = { start: 0x7_c000, end: 0x8_0000 };

/** What the device sees while its requests pass untranslated. */
export const ALL_RAM: readonly string[] = ['0+80000>0 rw', '100000+80000>100000 rw'];

export type Mode = 'legacy' | 'scalable';

/** How a scenario's machine differs from the usual one. */
export interface ScenarioOptions {
  readonly mode?: Mode;
  readonly capability?: Partial<Capability>;
}

/** A guest that runs, with translation on and nothing attached or plugged. */
export class ScenarioMachine {
  readonly guest: GuestMemory;
  readonly iommu: VtdIommu;
  readonly machine: Machine;
  readonly driver: VtdGuestDriver;
  readonly events: ObservedEvent[] = [];
  /** Bus 1, below a root port; bus 2, below a PCIe-to-PCI bridge. */
  readonly express: PciBus;
  readonly conventional: PciBus;

  constructor(options: ScenarioOptions = {}) {
    const { mode = 'legacy', capability } = options;
    const ram: MachineRam[] = [
      { start: 0, block: new SparseRamBlock(LOW_PAGES) },
      { start: HIGH, block: new SparseRamBlock(HIGH_PAGES) },
    ];
    this.guest = guestMemory(ram);
    const { memory } = this.guest;
    const observer = { observe: (event: ObservedEvent): void => void this.events.push(event) };
    this.iommu = new VtdIommu({ memory, capability: { ...CAPABILITY, ...capability }, observer });
    this.machine = new Machine({ memory, iommu: this.iommu, observer });
    this.express = this.machine.pci.attachBridge('root port', 0x1c, 0, 'root-port', 1).secondary;
    this.conventional = this.machine.pci.attachBridge('bridge', 0x1e, 0, 'pcie-to-pci', 2).secondary;
    this.driver = new VtdGuestDriver({
      memory,
      registers: this.iommu,
      allocator: new PageAllocator([TABLES]),
      settled: () => this.iommu.settled(),
    });
    void this.driver.boot({ mode });
  }

  /** A new domain that the device in {@link NIC_PLACE} uses. */
  nicDomain(levels: 3 | 4 | 5 = 4): GuestDomain & { readonly tables: object } {
    const domain = this.driver.createDomain({ levels });
    void this.driver.attachDevice(NIC, domain);
    return domain as GuestDomain & { readonly tables: object };
  }

  /** Where the device that scenarios are about is plugged. */
  get nicPlace(): { readonly bus: PciBus; readonly device: number; readonly name: string } {
    return { bus: this.express, device: 0, name: 'nic' };
  }

  /** Observed events of one kind. */
  observed(kind: string): ObservedEvent[] {
    return this.events.filter((event) => event.kind === kind);
  }

  /** Tells the unit that the PASID-table entries of a domain may have changed, and waits for it. */
  async invalidatePasidCache(domain: number): Promise<void> {
    const words = [spec.TYPE_PC_INV_DSC, 0, 0, 0];
    spec.writeField(words, spec.PC_INV_DSC.fields.G, spec.PC_DOMAIN);
    spec.writeField(words, spec.PC_INV_DSC.fields.DID, domain);
    this.driver.submit(words);
    await this.driver.wait();
  }

  /** Rewrites fields of the scalable-mode PASID-table entry of `requester` in place, without telling the unit. */
  rewritePasidEntry(requester: RequesterId, edit: (words: number[]) => void): void {
    lookupRequest(this.iommu, requester, undefined, ({ structure, table, offset, words }) => {
      if (structure !== 'PASID-table entry') return;
      const edited = [...words];
      edit(edited);
      for (let i = 0; i < edited.length; i += 2) {
        this.driver.writeEntry(table, offset / 8 + i / 2, edited[i] ?? 0, edited[i + 1] ?? 0);
      }
    });
  }
}

/** The requester ID of the device in a scenario's usual slot. */
export const NIC: RequesterId = requesterId(1, 0, 0);
