/** A requester in a machine with a hole below 4 GiB, as devices see it. @module */
import {
  type AddressSpace,
  type DmaResult,
  type MemoryListener,
  type MemorySection,
} from '../../../src/memory/index.ts';
import { RequesterSpace } from '../../../src/models/vtd/requester-space.ts';
import { StrictSink } from '../../support/strict-sink.ts';
import { leafText } from './observe.ts';
import { Guest, type GuestOptions, REQUESTER } from './table-builder.ts';
import { TableTree } from './table-tree.ts';

/** RAM as a machine has it: a hole below 4 GiB, in which the interrupt range is. */
export const RAM = [
  [0, 0xc0000],
  [0x100000, 0x80000],
] as const;

/** A legacy-mode requester with tables of four levels. */
export interface World {
  readonly guest: Guest;
  readonly tables: TableTree;
  readonly context: number;
  readonly requester: RequesterSpace;
  readonly space: AddressSpace;
  /** Interrupt requests that arrived: address and data. */
  readonly interrupts: [bigint, number[]][];
}

export function world(options: GuestOptions = {}): World {
  const guest = new Guest({ ram: RAM, ...options });
  const tables = new TableTree(guest, 4);
  const { context } = guest.legacy({ root: tables.root });
  const interrupts: World['interrupts'] = [];
  const interrupt = (address: bigint, data: Uint8Array): boolean => {
    interrupts.push([address, [...data]]);
    return true;
  };
  const requester = new RequesterSpace(guest.state, REQUESTER, { interrupt });
  return { guest, tables, context, requester, space: requester.space, interrupts };
}

/** Sections as `start-end name`, hexadecimal, end exclusive. */
export function sections({ space }: World): string[] {
  return space.view.sections.map(
    ({ start, end, region }) => `${start.toString(16)}-${end.toString(16)} ${region.name}`,
  );
}

/** The kind of a transfer's failure, or `none`. */
export function failure({ failure: why }: DmaResult): string {
  return why?.kind ?? 'none';
}

/** A notifier in each section of an IOMMU region, as a host mirrors them. */
export function mirror(made: World): StrictSink[] {
  const sinks: StrictSink[] = [];
  const listener: MemoryListener = {
    sectionAdded: ({ start, end, region, offset }: MemorySection) => {
      if (region !== made.requester.region) return;
      const sink = new StrictSink({ start: offset, end: offset + (end - start) });
      made.requester.region.registerNotifierReplay(sink, 4096n, false);
      sinks.push(sink);
    },
    sectionRemoved: () => undefined,
  };
  made.space.addListener(listener);
  return sinks;
}

/** What a sink holds, as the leaves of a walk are written, with `!` where it is no RAM. */
export function held(sink: StrictSink): string[] {
  return sink.held.map(
    ({ iova, pages, target, access, ram }) => `${leafText(iova, pages, target, access)}${ram ? '' : '!'}`,
  );
}
