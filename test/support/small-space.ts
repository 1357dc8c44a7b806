import {
  AddressSpace,
  ContainerRegion,
  MemoryTopology,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';
import { LoggingListener } from './listeners.ts';

/** An address space of 100 pages with nothing in it. */
export interface SmallSpace {
  readonly topology: MemoryTopology;
  readonly root: ContainerRegion;
  readonly space: AddressSpace;
}

export function smallSpace(): SmallSpace {
  const topology = new MemoryTopology();
  const root = new ContainerRegion('root', 100);
  return { topology, root, space: new AddressSpace('space', root, topology) };
}

/** RAM of `pages` pages. */
export function ramOf(name: string, pages: number): RamRegion {
  return new RamRegion(name, new SparseRamBlock(pages));
}

/** A listener to `space` whose log begins now. */
export function listenTo(space: AddressSpace): LoggingListener {
  const listener = new LoggingListener();
  space.addListener(listener);
  listener.take();
  return listener;
}
