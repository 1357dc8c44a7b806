/** A requester's IOMMU region over the tables of an image. @module */
import { walkByTranslating, type LeafVisitor, type WalkReport } from '../src/iommu/index.ts';
import {
  AddressSpace,
  BorrowedRamBlock,
  ContainerRegion,
  MemoryTopology,
  type PageRange,
  PAGES_END,
  RamRegion,
  SparseRamBlock,
} from '../src/memory/index.ts';
import type { RemappingState } from '../src/models/vtd/remapping-state.ts';
import { RequesterSpace } from '../src/models/vtd/requester-space.ts';
import * as spec from '../src/models/vtd/spec/index.ts';
import { VtdRegion } from '../src/models/vtd/vtd-region.ts';
import { DATA_PAGES, DATA_START, REQUESTER, type TableImage } from './table-image.ts';

/** Bits of a host address: as in the C floor, which checks the same reserved bits. */
const HAW = 48;

/** A unit that offers all that the images use. */
const CAPABILITY: spec.Capability = {
  ...spec.BASE_CAPABILITY,
  SAGAW: spec.SAGAW_39 | spec.SAGAW_48 | spec.SAGAW_57,
  MGAW: 57,
};

/** Guest-physical memory: the image's tables from page 0 on, and RAM that nobody has written yet for leaves to point to. */
export function guestMemory(image: TableImage): AddressSpace {
  const root = new ContainerRegion('guest-physical', PAGES_END);
  root.add(new RamRegion('tables', new BorrowedRamBlock(image.buffer)), 0);
  root.add(new RamRegion('data', new SparseRamBlock(DATA_PAGES)), DATA_START);
  return new AddressSpace('guest-physical', root, new MemoryTopology());
}

/** A unit whose translation is enabled with the image's tables. */
function remappingState(image: TableImage, memory: AddressSpace): RemappingState {
  return {
    capability: CAPABILITY,
    haw: HAW,
    memory,
    translationEnabled: true,
    rootTable: image.rootTable,
    translationTableMode: spec.TTM_LEGACY,
    guestStopped: false,
    recordFault: () => undefined,
  };
}

/** The region of the image's requester. */
export function vtdRegion(image: TableImage, iotlb = true): VtdRegion {
  return new VtdRegion('vtd', remappingState(image, guestMemory(image)), REQUESTER, { iotlb });
}

/** What the image's requester sees: its region, with the interrupt range taken out. */
export function requesterSpace(image: TableImage): AddressSpace {
  const state = remappingState(image, guestMemory(image));
  return new RequesterSpace(state, REQUESTER, { interrupt: () => false }).space;
}

/** The same region with the replay of 2015: translate at every granule instead of walking the tables. */
export function loopRegion(image: TableImage): VtdRegion {
  return new LoopRegion('vtd', remappingState(image, guestMemory(image)), REQUESTER, {});
}

class LoopRegion extends VtdRegion {
  override walk(range: PageRange, index: number, visit: LeafVisitor, report: WalkReport): void {
    walkByTranslating(range, 1, (page) => this.resolve(page, 0, index), visit, report);
  }
}
