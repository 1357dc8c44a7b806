/**
 * Scenarios: what a guest and an operator do, as data, and what a VFIO device's host must hold then. The same scenario
 * runs on our model, on the naive reference of the tests and on a real QEMU.
 *
 * Everything is text and plain values, so that a scenario can be printed, pasted and compared: addresses are
 * hexadecimal byte addresses (`0x400000`), sizes are `4K`, `2M`, `1G` or hexadecimal bytes.
 *
 * @module
 */

/** A guest IOMMU that scenarios are about. */
export type ScenarioModel = 'vtd' | 'amdvi' | 'virtio-iommu';

/** What a mapping allows. */
export type AccessText = 'r' | 'w' | 'rw';

/**
 * Where VFIO devices are plugged.
 * - `nic`, `disk`: each the only slot of a root port; requesters 01:00.0 and 04:00.0.
 * - `pci1`, `pci2`: behind a PCIe-to-PCI bridge; both are requester 03:00.0.
 */
export type Slot = 'nic' | 'disk' | 'pci1' | 'pci2';

/** A slot, or `edu`: an emulated device, 00:05.0, that does DMA through the IOMMU and is mirrored into no host. */
export type Requester = Slot | 'edu';

/** How the machine of a scenario differs from the usual one. */
export interface MachineOptions {
  /** VT-d: kind of tables; legacy when left out. First-stage tables are offered only when named. */
  readonly mode?: 'legacy' | 'scalable' | 'first-stage';
  /** VT-d: address width of second-stage tables; 48 when left out. */
  readonly awBits?: 39 | 48;
  /** virtio-iommu: whether endpoints pass through before a driver speaks; false when left out. */
  readonly bootBypass?: boolean;
}

/** What a VFIO device's host takes; everything when left out. */
export interface SinkLimits {
  /** Mappings at once. */
  readonly maxMappings?: number;
  /** Mappings must end at or below this address. */
  readonly end?: string;
  /** `exact`: an unmap must name one mapping exactly, as libvfio-user has it. */
  readonly unmap?: 'exact';
  /** Milliseconds that the host takes for every mapping. */
  readonly delay?: number;
}

/** What a guest does. Domains go by names; a domain has its tables, or its mappings, from `domain` on. */
export type GuestStep =
  | {
      readonly do: 'domain';
      readonly name: string;
      /** VT-d: 3 or 4 levels; AMD-Vi: mode 1 to 6. 4 when left out. */
      readonly levels?: number;
      /** Its requesters reach memory untranslated. */
      readonly kind?: 'pass-through';
    }
  /** `tell: false` leaves out the invalidation. */
  | { readonly do: 'attach'; readonly who: Requester; readonly domain: string; readonly tell?: false }
  | { readonly do: 'detach'; readonly who: Requester; readonly tell?: false }
  /** Gives a requester that has a domain another one, without a moment in which it has none. */
  | { readonly do: 'switch'; readonly who: Requester; readonly domain: string; readonly tell?: false }
  | {
      readonly do: 'map';
      readonly domain: string;
      readonly iova: string;
      readonly size: string;
      readonly to: string;
      readonly access: AccessText;
      /** Size of every leaf; as large as possible when left out. Tables only. */
      readonly leaf?: string;
    }
  | { readonly do: 'unmap'; readonly domain: string; readonly iova: string; readonly size: string }
  /** Rewrites leaves in place, with other access and other targets, and invalidates them. Tables only. */
  | {
      readonly do: 'remap';
      readonly domain: string;
      readonly iova: string;
      readonly size: string;
      readonly to?: string;
      readonly access: AccessText;
    }
  /** Writes one table entry and tells nobody. Tables only; the table must be there. */
  | ({
      readonly do: 'entry';
      readonly domain: string;
      readonly level: number;
      readonly iova: string;
    } & EntryContent)
  | {
      readonly do: 'invalidate';
      readonly what: 'pages';
      readonly domain: string;
      readonly iova: string;
      readonly size: string;
    }
  | { readonly do: 'invalidate'; readonly what: 'domain'; readonly domain: string }
  /** Everything that is cached of tables; with `structures`, also of context, PASID or device table entries. */
  | { readonly do: 'invalidate'; readonly what: 'all' | 'structures' }
  | { readonly do: 'invalidate'; readonly what: 'requester'; readonly who: Requester }
  | { readonly do: 'translation'; readonly on: boolean }
  /** A guest boots, after a reset; one has booted before the first step. */
  | { readonly do: 'boot' }
  /** VT-d, mode `first-stage`: the requester's PASID-table entry turns to first-stage tables, of which the root is empty. */
  | { readonly do: 'first-stage'; readonly who: Requester }
  /** virtio-iommu: writes `bypass` of the configuration. */
  | { readonly do: 'bypass'; readonly on: boolean }
  /** Sets a bit that is reserved in the device table, context or PASID-table entry of a requester, and tells nobody. */
  | { readonly do: 'spoil'; readonly who: Requester }
  /**
   * Any bytes, hexadecimal, in the queue: a descriptor of VT-d, a command of AMD-Vi, what the device reads of a request
   * of virtio-iommu. A unit with tables then is waited for, and set going again when it stopped there.
   */
  | {
      readonly do: 'request';
      readonly bytes: string;
      /** virtio-iommu: bytes left for the tail; 4 when left out. */
      readonly tail?: number;
    }
  /** virtio-iommu: asks for the properties of an endpoint. */
  | { readonly do: 'probe'; readonly who: Requester }
  /** virtio-iommu: the driver resets the device, negotiates anew and goes on without domains. */
  | { readonly do: 'restart' };

/** What a table entry becomes. */
export type EntryContent =
  | { readonly is: 'nothing' }
  /** A new, empty table; `next` is its level where levels are skipped. */
  | { readonly is: 'table'; readonly next?: number }
  | { readonly is: 'leaf'; readonly to: string; readonly access: AccessText; readonly size?: string }
  /** The entry's 64 bits. */
  | { readonly is: 'raw'; readonly bits: string };

/** What happens around the guest. */
export type OperatorStep =
  | { readonly do: 'plug'; readonly who: Slot; readonly sink?: SinkLimits }
  | { readonly do: 'unplug'; readonly who: Slot }
  /** What the host was sent so far is not counted. */
  | { readonly do: 'forget'; readonly who: Slot }
  /** One DMA access of `edu`. */
  | { readonly do: 'dma'; readonly access: 'r' | 'w'; readonly iova: string }
  /** The whole machine is reset; its guest and all domains are gone. */
  | { readonly do: 'reset' };

/** A look at what the hosts hold. */
export interface Checkpoint {
  readonly do: 'expect';
  /** By slot, ascending lines `IOVA SIZE -> GPA ACCESS`; `RAM`: all memory at its own address. */
  readonly ledger?: Readonly<Partial<Record<Slot, LedgerText>>>;
  /** Maps and unmaps that a slot's host was sent since they were last counted or forgotten, or since the plug. */
  readonly messages?: Readonly<Partial<Record<Slot, Messages>>>;
  /** VT-d: tables of every level that were read while a slot's device was plugged. */
  readonly tables?: Readonly<Partial<Record<Slot, number>>>;
  /** Faults that the guest can read and has not read yet, in the words of its model, such as `00:05.0 w 0x1000 LGN.2`. */
  readonly faults?: readonly string[];
}

/** Lines of a ledger, or all of memory. */
export type LedgerText = readonly string[] | 'RAM';

/** Messages to a host. */
export interface Messages {
  readonly maps: number;
  readonly unmaps: number;
}

/** What a step must bring about, where it is not simply carried out. */
export interface Outcome {
  /**
   * What is said to a plug, or a request: `done` when left out. A plug, or an entry of a queue, may be `refused`; a
   * request of virtio-iommu has its status, such as `RANGE`, and a probe what it tells of.
   */
  readonly answer?: string;
}

/** Where QEMU departs from what a step must bring about. */
export interface Departure {
  /** See {@link Outcome}; `done` for what should have been refused. */
  readonly answer?: string;
  readonly ledger?: Readonly<Partial<Record<Slot, LedgerText>>>;
  readonly messages?: Readonly<Partial<Record<Slot, Messages>>>;
  readonly tables?: Readonly<Partial<Record<Slot, number>>>;
  readonly faults?: readonly string[];
  /** QEMU ends here, and says this. */
  readonly ends?: string;
}

/** One step, with what it must bring about and what QEMU makes of it. */
export type Step = (GuestStep | OperatorStep | Checkpoint) & Outcome & { readonly qemu?: Departure };

/** What QEMU does wrong. */
export interface Finding {
  /** Its number in docs/conformance.md. */
  readonly id: string;
  /** One sentence: what QEMU did. */
  readonly qemu: string;
  /** Which specification, and where. */
  readonly section: string;
  /** What it asks for, in one sentence. */
  readonly requires: string;
}

/** One scenario. */
export interface Scenario {
  /** Unique, such as `vtd-split-narrow`. */
  readonly id: string;
  readonly model: ScenarioModel;
  /** One line for people: what happens. */
  readonly title: string;
  readonly machine?: MachineOptions;
  readonly steps: readonly Step[];
  /** There when a step has a departure. */
  readonly finding?: Finding;
  /** Where QEMU does as specified: the number in docs/conformance.md of what was watched, such as `R12`. */
  readonly watched?: string;
}
