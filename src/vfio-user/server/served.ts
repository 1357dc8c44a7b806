import type { Observer } from '../../memory/index.ts';
import type { Descriptor } from '../descriptor.ts';
import type { ConfigSpace } from './config-space.ts';
import type { DeviceMemory } from './device-memory.ts';
import type { DmaTable } from './dma-table.ts';
import type { DmaTraffic } from './dma-traffic.ts';
import type { ServerEvents } from './events.ts';
import type { DeviceInterrupts } from './interrupts.ts';
import type { LastFile } from './last-file.ts';
import type { ServerLimits } from './limits.ts';
import type { PciDevice } from './pci-device.ts';
import type { Regions } from './regions.ts';

/** A device with everything that a server keeps for it, from one client to the next. */
export interface Served {
  readonly device: PciDevice;
  readonly config: ConfigSpace;
  readonly interrupts: DeviceInterrupts;
  readonly regions: Regions;
  readonly table: DmaTable;
  readonly traffic: DmaTraffic;
  readonly memory: DeviceMemory;
  readonly limits: ServerLimits;
  readonly events: ServerEvents | undefined;
  readonly observer: Observer | undefined;
}

/** A command as a handler gets it. */
export interface Call {
  /** What follows the header, to be kept by nobody. */
  readonly payload: Uint8Array;
  /** The handler's where commands take descriptors; empty elsewhere. */
  readonly descriptors: readonly Descriptor[];
  readonly passesDescriptors: boolean;
  /** The client's last file, when it was agreed that mappings may name it. */
  readonly lastFile: LastFile | undefined;
  /** Whether the client is still there. */
  isOpen(): boolean;
}

/** What a command is answered with: an errno (0: done, nothing to say), a payload, or a payload and descriptors. */
export type Answer =
  | number
  | Uint8Array
  | { readonly payload: Uint8Array; readonly descriptors: readonly Descriptor[] };

/** Carries out one command; what it throws, or rejects with, is the device's mistake. */
export type Handler = (served: Served, call: Call) => Answer | Promise<Answer>;
