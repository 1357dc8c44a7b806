import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Capture,
  type CaptureMapping,
  type ElfCore,
  readCapture,
  type RegisterDump,
} from '../../../src/guests/index.ts';
import { parseRequesterId } from '../../../src/iommu/index.ts';
import { Access, PAGES_END, type SparseRamBlock } from '../../../src/memory/index.ts';
import { decodeCapability } from '../../../src/models/vtd/spec/index.ts';
import type { VtdRegion } from '../../../src/models/vtd/vtd-region.ts';
import { leafText, takeFaults, translated, walked } from './observe.ts';
import { Guest } from './table-builder.ts';

const FOLDER = fileURLToPath(new URL('../../../captures/', import.meta.url));

const LISTINGS = [
  { name: 'vtd-legacy-e1000', requester: '02:00.0', leaves: 348 },
  { name: 'vtd-legacy-e1000', requester: '02:00.0', leaves: 257, when: 'final' },
  { name: 'vtd-legacy-e1000-aw39', requester: '02:00.0', leaves: 348 },
  { name: 'vtd-legacy-e1000-aw39', requester: '02:00.0', leaves: 257, when: 'final' },
  { name: 'vtd-vfio-mix', requester: '02:00.0', leaves: 17_809 },
  { name: 'vtd-sm-second-stage', requester: '01:00.0', leaves: 17_799 },
  { name: 'vtd-sm-second-stage', requester: '00:04.0', leaves: 265 },
  { name: 'vtd-sm-second-stage', requester: '00:1f.0', leaves: 8 },
  { name: 'vtd-sm-second-stage', requester: '00:1f.2', leaves: 8 },
  { name: 'vtd-sm-second-stage', requester: '00:1f.3', leaves: 8 },
  { name: 'vtd-sm-first-stage', requester: '00:04.0', leaves: 265 },
  { name: 'vtd-sm-first-stage', requester: '00:1f.0', leaves: 8 },
  { name: 'vtd-sm-first-stage', requester: '00:1f.2', leaves: 8 },
  { name: 'vtd-sm-first-stage', requester: '00:1f.3', leaves: 8 },
];

interface Machine {
  readonly capture: Capture;
  readonly guest: Guest;
}

interface Listing {
  readonly guest: Guest;
  readonly region: VtdRegion;
  readonly mappings: readonly CaptureMapping[];
}

const machines: Map<string, Promise<Machine>> = new Map();

async function load(name: string, requester: string, isFinal: boolean): Promise<Listing> {
  const key = `${name} ${isFinal}`;
  const machine = machines.get(key) ?? loadMachine(name, isFinal);
  machines.set(key, machine);
  const { capture, guest } = await machine;
  const mappings = (await (isFinal
    ? capture.finalMappings()
    : capture.mappings(requester))) as CaptureMapping[];
  return { guest, region: guest.region(parseRequesterId(requester)), mappings };
}

async function loadMachine(name: string, isFinal: boolean): Promise<Machine> {
  const capture = await readCapture(FOLDER + name);
  const { start: atPlug, final } = capture.requireRegisters(0x28);
  const memory = (await (isFinal ? capture.finalMemory() : capture.memory())) as ElfCore;
  const ram = capture.ram.map(({ start, end }) => [start, end - start] as const);
  const guest = guestOf(ram, isFinal ? final : atPlug);
  for (const { page, words } of memory.pages()) {
    const at = capture.ram.findIndex(({ start, end }) => page >= start && page < end);
    (guest.memory.ram[at].block as SparseRamBlock).setPage(page - capture.ram[at].start, words);
  }
  return { capture, guest };
}

/** A unit in the state that its registers show, by the offsets of VT-d 11.4. */
function guestOf(ram: readonly (readonly [number, number])[], { bytes }: RegisterDump): Guest {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pair = (offset: number): { lo: number; hi: number } => ({
    lo: view.getUint32(offset, true),
    hi: view.getUint32(offset + 4, true),
  });
  const capability = decodeCapability(view.getUint32(0, true), pair(0x08), pair(0x10));
  const guest = new Guest({ capability, haw: 48, ram, region: { iotlb: false } });
  const rootTable = view.getBigUint64(0x20, true);
  guest.state.translationEnabled = view.getUint32(0x1c, true) >>> 31 === 1;
  guest.state.rootTable = Number(rootTable >> 12n);
  guest.state.translationTableMode = Number((rootTable >> 10n) & 3n);
  return guest;
}

describe.each(LISTINGS)(
  '$name $when: what the tables hold for $requester',
  ({ name, requester, leaves, when }) => {
    let listing: Listing;
    let texts: string[];

    beforeAll(async () => {
      listing = await load(name, requester, when === 'final');
      takeFaults(listing.guest);
      texts = listing.mappings.map(({ iova, pages, target, access }) =>
        leafText(iova, pages, target, access),
      );
    });

    it('is what a walk yields, leaf by leaf', () => {
      const { leaves: seen, faults } = walked(listing.region);

      expect(listing.guest.state.translationEnabled).toBe(true);
      expect(seen).toEqual(texts);
      expect(seen).toHaveLength(leaves);
      expect(faults).toEqual([]);
    });

    it('is what its first and last pages translate to', () => {
      const { guest, region, mappings } = listing;

      expect(mappings.map(({ iova }) => translated(region, iova))).toEqual(texts);
      const large = mappings.filter(({ pages }) => pages > 1);
      const largeTexts = large.map(({ iova, pages, target, access }) =>
        leafText(iova, pages, target, access),
      );
      expect(large.map(({ iova, pages }) => translated(region, iova + pages - 1))).toEqual(largeTexts);
      const some = mappings.filter((_, i) => i % 16 === 0);
      expect(some.map(({ iova, access }) => translated(region, iova, access))).toEqual(
        texts.filter((_, i) => i % 16 === 0),
      );
      expect(takeFaults(guest)).toEqual([]);
    });

    it('is not where it has holes, nor more than it allows', () => {
      const { region, mappings } = listing;
      const starts = new Set(mappings.map(({ iova }) => iova));
      const behind = mappings.map(({ iova, pages }) => iova + pages).filter((page) => !starts.has(page));
      const limited = mappings.filter(({ access }) => access !== Access.ReadWrite);

      const holes = behind.map((page) => translated(region, page));
      const excess = limited.map(({ iova, access }) => translated(region, iova, (3 & ~access) as Access));

      expect(holes.filter((text) => text !== '-')).toEqual([]);
      expect(behind.length).toBeGreaterThan(0);
      expect(excess.filter((text) => !/^(LGN\.[23]|SGN\.[67])$/.test(text))).toEqual([]);
    });

    it('is cut by a range where the range begins and ends', () => {
      const { region, mappings } = listing;
      const middle = mappings[mappings.length >> 1] as CaptureMapping;
      const before = mappings.filter(({ iova }) => iova < middle.iova).length;

      const lower = walked(region, { start: 0, end: middle.iova }).leaves;
      const upper = walked(region, { start: middle.iova + middle.pages - 1, end: PAGES_END }).leaves;

      expect(lower).toEqual(texts.slice(0, before));
      expect(upper).toEqual(texts.slice(before));
    });
  },
);
