import type { Eventfds, SharedFiles, Timers } from '../vfio-user/index.ts';
import { LinuxEventfds } from './eventfd.ts';
import { loadKoffi } from './koffi.ts';
import { openLibc } from './libc.ts';
import { LinuxSharedFiles, type SharedFilesOptions } from './shared-files.ts';
import { timers } from './timers.ts';

/** What this machine offers to vfio-user. */
export interface LinuxPlatform {
  /** Whether descriptors are passed, so that memory is shared and interrupts are eventfds, or all is messages. */
  readonly mode: 'descriptors' | 'messages';
  /** Undefined in message mode. */
  readonly files: SharedFiles | undefined;
  /** Undefined in message mode. */
  readonly eventfds: Eventfds | undefined;
  readonly timers: Timers;
  /** Why there are only messages, and what would change that. */
  readonly why?: string;
}

/** Finds out, at the first call, what this machine offers. */
export function linuxPlatform(options: SharedFilesOptions = {}): LinuxPlatform {
  const libc = openLibc();
  if (libc === undefined) {
    return { mode: 'messages', files: undefined, eventfds: undefined, timers, why: loadKoffi().why ?? '' };
  }
  return {
    mode: 'descriptors',
    files: new LinuxSharedFiles(libc, options),
    eventfds: new LinuxEventfds(libc),
    timers,
  };
}
