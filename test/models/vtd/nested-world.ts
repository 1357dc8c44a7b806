/** A nested translation for tests: second-stage tables, and first-stage tables at guest-physical addresses of their own. @module */
import type { Capability } from '../../../src/models/vtd/spec/index.ts';
import type { VtdRegion } from '../../../src/models/vtd/vtd-region.ts';
import { Guest, type PasidFields, REQUESTER, SCALABLE_CAPABILITY } from './table-builder.ts';
import { FIRST_STAGE_TABLE, type TablePlace, TableTree } from './table-tree.ts';

/** Where the first guest-physical page of first-stage tables is; host pages are found elsewhere. */
export const FIRST_STAGE_TABLES_AT = 0x700000;

/** How a nested world is made. */
export interface NestedOptions {
  readonly firstLevels?: number;
  readonly secondLevels?: number;
  readonly capability?: Partial<Capability>;
  readonly haw?: number;
  readonly entry?: PasidFields;
}

/** Both stages. A page of first-stage tables at guest-physical `p` is mapped by a second-stage leaf of 4 KiB. */
export interface NestedWorld {
  readonly guest: Guest;
  readonly second: TableTree;
  readonly first: TableTree;
  /** Forgets nothing between translations: there is no IOTLB. */
  readonly region: VtdRegion;
  /** Page of the PASID table, for a test that changes the entry of PASID 0. */
  readonly pasidTable: number;
}

export function nestedWorld(options: NestedOptions = {}): NestedWorld {
  const { firstLevels = 4, secondLevels = 4 } = options;
  const guest = new Guest({
    haw: options.haw ?? 46,
    capability: { ...SCALABLE_CAPABILITY, ...options.capability },
  });
  const second = new TableTree(guest, secondLevels);
  let nextPointer = FIRST_STAGE_TABLES_AT;
  const allocate = (): TablePlace => {
    const place = { pointer: nextPointer++, page: guest.newPage() };
    second.map(place.pointer, 1, place.page, 0b11n);
    return place;
  };
  const first = new TableTree(guest, firstLevels, FIRST_STAGE_TABLE, allocate);
  const { table } = guest.scalable({
    pgtt: 0b011,
    aw: secondLevels - 2,
    fspm: firstLevels - 4,
    secondStage: second.root,
    firstStage: first.root,
    ...options.entry,
  });
  return { guest, second, first, region: guest.region(REQUESTER, { iotlb: false }), pasidTable: table };
}
