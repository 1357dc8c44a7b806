/** The RAM of a QEMU machine, shared with this process: what the guest driver writes, QEMU walks. @module */
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  MemoryTopology,
  PAGES_END,
  type RamBlock,
  RamRegion,
} from '../memory/index.ts';

/** A q35 machine whose RAM reaches 0xb0000000 has the first 2 GiB below 4 GiB and the rest above. */
export const LOW_PAGES = 0x8_0000;
/** First page of the rest. */
export const HIGH = 0x10_0000;

/** Guest-physical memory over `file`, which holds all RAM and stays the caller's. */
export function sharedGuestMemory(file: RamBlock): AddressSpace {
  const ram = new RamRegion('RAM', file);
  const system = new ContainerRegion('system', PAGES_END);
  const low = Math.min(file.pages, LOW_PAGES);
  system.add(new AliasRegion('RAM below 4 GiB', ram, 0, low), 0);
  if (file.pages > low) system.add(new AliasRegion('RAM above 4 GiB', ram, low, file.pages - low), HIGH);
  return new AddressSpace('guest memory', system, new MemoryTopology());
}

/** The page of the RAM file that holds guest-physical page `page`. */
export function filePage(page: number): number {
  return page < LOW_PAGES ? page : page - HIGH + LOW_PAGES;
}

/** The guest-physical page that lies at page `page` of the RAM file. */
export function guestPage(page: number): number {
  return page < LOW_PAGES ? page : page - LOW_PAGES + HIGH;
}

/**
 * What a device has mapped of RAM while its requests pass untranslated, as text like that of `dmaText`: all but the
 * 256 KiB of ROM below 1 MiB.
 */
export const RAM_UNTRANSLATED: readonly string[] = ['0+c0>0 rw', '100+7ff00>100 rw', '100000+80000>80000 rw'];
