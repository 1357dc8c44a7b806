import { readdirSync } from 'node:fs';

/** How many descriptors this process has open, for tests that none leaks. Linux only. */
export function openDescriptors(): number {
  // Reading the folder takes a descriptor, which is in it.
  return readdirSync('/proc/self/fd').length - 1;
}
