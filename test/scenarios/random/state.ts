/** A machine under test, and the reference beside it. @module */
import { PageAllocator, type GuestDomain, VtdGuestDriver } from '../../../src/guests/index.ts';
import { type RequesterId, requesterId } from '../../../src/iommu/index.ts';
import { type GuestMemory, guestMemory, Machine, type PluggedDevice } from '../../../src/machine/index.ts';
import {
  DeviceRegion,
  type MemoryRegion,
  type ObservedEvent,
  RamRegion,
  SparseRamBlock,
} from '../../../src/memory/index.ts';
import { VtdIommu } from '../../../src/models/vtd/index.ts';
import type { PciBus } from '../../../src/pci/index.ts';
import type { HostIommu } from '../../../src/vfio/index.ts';
import type { NaiveDomain, Span } from '../naive/domain.ts';
import type { NaiveRegion } from '../naive/memory-map.ts';
import { type NaiveHostLimits, NaiveWorld } from '../naive/world.ts';
import { CAPABILITY } from '../scenario-machine.ts';
import type { CheckedHost } from './checked-host.ts';
import { FIXED, type LayoutRegion, LOOSE, TABLES } from './layout.ts';
import type { HostSpec, Start } from './steps.ts';

/** The host of a device, as the device sees it and as it is. */
export interface Host {
  readonly kind: HostSpec;
  readonly limits: NaiveHostLimits;
  readonly inner: CheckedHost;
  readonly outer: HostIommu;
}

/** A PCI slot, and what is in it. */
export interface Slot {
  readonly bus: PciBus;
  readonly device: number;
  readonly requester: RequesterId;
  state: 'empty' | 'plugging' | 'plugged' | 'unplugging';
  /** Unique for each plug, so that reports can be told apart. */
  name: string;
  host: Host | undefined;
  plugged: PluggedDevice | undefined;
  /** Whether its host had a reason to refuse, since it was last seen to have refused nothing. */
  strained: boolean;
  /** Pages that the device has used. */
  readonly used: Set<number>;
}

/** A domain as the driver and as the reference know it. */
export interface Domain {
  readonly vtd: GuestDomain;
  readonly naive: NaiveDomain;
  /** Ranges that were written behind the driver's back, since the last exact invalidation. */
  readonly raw: Span[];
}

/** Everything that steps act on and judges look at. */
export class RunState {
  readonly start: Start;
  readonly guest: GuestMemory = guestMemory([]);
  readonly iommu: VtdIommu;
  readonly machine: Machine;
  readonly driver: VtdGuestDriver;
  readonly events: ObservedEvent[] = [];
  readonly world: NaiveWorld;
  /** Regions of guest memory by name. */
  readonly regions: Map<string, MemoryRegion> = new Map();
  readonly domains: Domain[] = [];
  readonly requesters: readonly RequesterId[] = [
    requesterId(0, 3, 0),
    requesterId(1, 0, 0),
    requesterId(2, 0, 0),
  ];
  /** Two of them behind one bridge. */
  readonly slots: readonly Slot[];
  /** What must never be and was seen all the same. */
  readonly violations: string[] = [];
  /** What was begun and not awaited. */
  readonly pending: Promise<void>[] = [];
  /** Number of the step under way. */
  step = 0;

  constructor(start: Start) {
    this.start = start;
    this.world = new NaiveWorld([...FIXED, ...LOOSE].map((region) => this.addRegion(region)));
    const { memory } = this.guest;
    const observer = { observe: (event: ObservedEvent): void => void this.events.push(event) };
    const capability = { ...CAPABILITY, PSI: start.PSI };
    this.iommu = new VtdIommu({ memory, capability, observer, iotlb: start.iotlb });
    this.machine = new Machine({ memory, iommu: this.iommu, observer });
    const { pci } = this.machine;
    const express = pci.attachBridge('root port', 0x1c, 0, 'root-port', 1).secondary;
    const conventional = pci.attachBridge('bridge', 0x1e, 0, 'pcie-to-pci', 2).secondary;
    this.slots = [
      emptySlot(pci, 3, this.requester(0)),
      emptySlot(express, 0, this.requester(1)),
      emptySlot(conventional, 1, this.requester(2)),
      emptySlot(conventional, 2, this.requester(2)),
    ];
    this.driver = new VtdGuestDriver({
      memory,
      registers: this.iommu,
      allocator: new PageAllocator([TABLES]),
      settled: () => this.iommu.settled(),
      invalidation: start.invalidation,
    });
  }

  /** Notes what must never be. */
  violate(what: string): void {
    this.violations.push(`step ${this.step}: ${what}`);
  }

  /** Puts a region into guest memory, with RAM of its own. */
  addRegion({ name, kind, start, pages }: LayoutRegion): NaiveRegion {
    const block = kind === 'device' ? undefined : new SparseRamBlock(pages);
    const region =
      block === undefined
        ? new DeviceRegion(name, pages, { read: () => true, write: () => true })
        : new RamRegion(name, block, { readonly: kind === 'rom' });
    this.regions.set(name, region);
    this.guest.system.add(region, start);
    return { name, kind, start, pages, block };
  }

  /** Whether the host of a plug of this name failed for good. */
  lost(name: string): boolean {
    return this.events.some(({ kind, source }) => kind === 'host-lost' && source.split(' ')[0] === name);
  }

  domain(index: number): Domain {
    return this.domains[index % this.domains.length] as Domain;
  }

  slot(index: number): Slot {
    return this.slots[index % this.slots.length] as Slot;
  }

  requester(index: number): RequesterId {
    return this.requesters[index % this.requesters.length] as RequesterId;
  }
}

function emptySlot(bus: PciBus, device: number, requester: RequesterId): Slot {
  return {
    bus,
    device,
    requester,
    state: 'empty',
    name: '',
    host: undefined,
    plugged: undefined,
    strained: false,
    used: new Set(),
  };
}
