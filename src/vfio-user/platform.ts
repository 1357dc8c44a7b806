/** What this room needs of the system that it runs on; the linux room has the real ones. @module */
import type { MemoryRegion } from '../memory/index.ts';
import type { Descriptor } from './descriptor.ts';

/** A file of memory that a peer shares, such as guest RAM. */
export interface SharedFile {
  /** The same for every descriptor of the same file. */
  readonly key: string;
  /** The file's pages as memory: a RamRegion over a mapping, or a DeviceRegion that reads and writes the file. */
  readonly region: MemoryRegion;
  /** Whether devices may write. */
  readonly writable: boolean;
  /** Whether pages up to `endPage`, exclusive, are in the file now. */
  contains(endPage: number): boolean;
  /** Lets go of the file. Called once, when no mapping uses it any more. */
  release(): void;
}

/** An operation that the system refused. */
export interface SystemRefusal {
  /** The errno's name, such as `EACCES`. */
  readonly errno: string;
  /** One sentence: what is wrong and what would help. */
  readonly reason: string;
}

/** Opens what peers share. Never throws for what a peer sent. */
export interface SharedFiles {
  /** Identifies the file behind a descriptor without opening it: equals {@link SharedFile.key}; undefined for what is no file. */
  identify(descriptor: Descriptor): string | undefined;
  /** Opens the file of a descriptor, which stays the caller's and may be closed afterwards. */
  open(descriptor: Descriptor): SharedFile | SystemRefusal;
}

/** Rings the bells by which interrupts are delivered. */
export interface Eventfds {
  /** Whether a descriptor is an eventfd. Never throws for what a peer sent. */
  accepts(descriptor: Descriptor): boolean;
  /** Adds one to an eventfd. Never blocks; a full counter is rung already. */
  signal(eventfd: Descriptor): void;
}

/** Calls `action` once after `milliseconds` unless cancelled. */
export interface Timers {
  after(milliseconds: number, action: () => void): { cancel(): void };
}
