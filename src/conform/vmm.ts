import type { AddressSpace } from '../memory/index.ts';
import type { Messages, SinkLimits, Slot } from './scenario.ts';
import type { GuestSide } from './guest-side.ts';

/** What a scenario's guest runs on: a machine with its IOMMU, in process or in QEMU. */
export interface Vmm {
  /** Guest-physical memory, shared with the machine. */
  readonly memory: AddressSpace;
  /** What a host holds when its device reaches all memory, ascending, as lines of a ledger. */
  readonly allMemory: readonly string[];
  /** A mapping as this machine tells a host of it, in one line or several. */
  tells(line: string): readonly string[];
  /** A guest for a machine as it is after a reset, which has yet to boot. */
  newGuest(): Promise<GuestSide>;
  /** Plugs a VFIO device: `done` or `refused`. */
  plug(slot: Slot, limits: SinkLimits): Promise<'done' | 'refused'>;
  unplug(slot: Slot): Promise<void>;
  /** See `ScenarioDriver`. */
  ledger(slot: Slot): Promise<readonly string[]>;
  messages(slot: Slot): Messages;
  /** Rejects with NotSupported when this machine does not count. */
  tables(slot: Slot): Promise<number>;
  /** One access of four bytes by `edu`. */
  dma(access: 'r' | 'w', iova: bigint): Promise<void>;
  /** Resets the machine; its memory stays. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** 2 GiB of RAM at 0 and 2 GiB at 4 GiB; a guest's tables and queues lie at the end of the first. Pages. */
export const MACHINE_RAM = {
  low: { start: 0, pages: 0x8_0000 },
  high: { start: 0x10_0000, pages: 0x8_0000 },
  guestStructures: { start: 0x7_c000, end: 0x8_0000 },
} as const;
