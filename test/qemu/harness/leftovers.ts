/** What a process can leave behind by mistake. @module */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { openDescriptors } from '../../../src/linux/index.ts';

/** Things of a process that a peer's death must not change. */
export interface Leftovers {
  /** Descriptors that are open. */
  readonly descriptors: number;
  /** Mapped parts of some QEMU's RAM. */
  readonly guestRam: number;
}

/** Counts them in this process. */
export function leftovers(): Leftovers {
  return { descriptors: openDescriptors(), guestRam: guestRamOf('self') };
}

/** Counts them in another one. */
export function leftoversOf(pid: number): Leftovers {
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, guestRam: guestRamOf(pid) };
}

function guestRamOf(process: number | 'self'): number {
  const maps = readFileSync(`/proc/${process}/maps`, 'latin1').split('\n');
  return maps.filter((line) => line.includes('memory-backend-memfd')).length;
}

/** The names of the files beside `socket`. */
export function filesBeside(socket: string): string[] {
  return readdirSync(dirname(socket));
}
