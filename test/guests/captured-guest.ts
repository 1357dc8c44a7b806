import { fileURLToPath } from 'node:url';
import type { Capture } from '../../src/guests/capture.ts';
import type { CaptureMapping } from '../../src/guests/capture-lines.ts';
import { targetsOf } from '../../src/guests/driver/events.ts';
import {
  Access,
  AddressSpace,
  ContainerRegion,
  MemoryTopology,
  PAGES_END,
  type PageRange,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';
import { leafText } from './driver-leaves.ts';

/** The folder of a capture that ships with the package. */
export function folderOf(name: string): string {
  return fileURLToPath(new URL(`../../captures/${name}`, import.meta.url));
}

/** A captured guest's RAM, with these pages in it. */
export function memoryOf(
  capture: Capture,
  pages: Iterable<{ page: number; words: Uint32Array }>,
): AddressSpace {
  const root = new ContainerRegion('guest-physical', PAGES_END);
  const blocks = capture.ram.map((range) => ({ range, block: new SparseRamBlock(range.end - range.start) }));
  for (const [i, { range, block }] of blocks.entries())
    root.add(new RamRegion(`ram${i}`, block), range.start);
  for (const { page, words } of pages) {
    const home = blocks.find(({ range }) => page >= range.start && page < range.end);
    home?.block.setPage(page - home.range.start, words);
  }
  return new AddressSpace('guest-physical', root, new MemoryTopology());
}

/** Pages that a captured guest uses: tables, and what they map. */
export async function pagesOf(capture: Capture): Promise<PageRange[]> {
  const tables = [...((await capture.memory())?.pages() ?? [])].map(({ page }) => ({
    start: page,
    end: page + 1,
  }));
  return [...tables, ...targetsOf((await capture.mappings()) ?? [])];
}

/** Mappings as `walkedLeaves` writes them. */
export function texts(mappings: readonly CaptureMapping[] | undefined): string[] {
  return (mappings ?? []).map(({ iova, pages, target, access }) => leafText(iova, pages, target, access));
}

/** What QEMU tells a sink of a leaf with this access. */
export function toldByQemu(access: Access): Access {
  return access === Access.Read ? Access.Read : Access.ReadWrite;
}
