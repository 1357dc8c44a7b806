import { describe, expect, it } from 'vitest';
import { Access } from '../../../src/memory/index.ts';
import { FAULT_REASONS } from '../../../src/models/vtd/spec/index.ts';
import type { VtdRegion } from '../../../src/models/vtd/vtd-region.ts';
import { nestedWorld } from './nested-world.ts';
import { conditionOf, translated } from './observe.ts';
import { Guest, type PasidFields, REQUESTER, SCALABLE_CAPABILITY } from './table-builder.ts';
import { FIRST_STAGE_TABLE, TableTree } from './table-tree.ts';

const RW = 0b11n;
const USER_RW = 0b111n;
const IOVA = 0x400;
const OUTSIDE = 0x20000;
/** Reserved in every structure and every present entry: above the host address width of 46 bits. */
const ABOVE_HAW = 1n << 50n;
const at = (page: number): bigint => BigInt(page) << 12n;

/** A requester, and the access that meets the fault when it is not a read of IOVA without PASID. */
interface Arranged {
  readonly guest: Guest;
  readonly region: VtdRegion;
  readonly page?: number;
  readonly access?: Access;
  readonly pasid?: number;
}

type Arrangement = (made: ReturnType<typeof legacy>) => Omit<Partial<Arranged>, 'guest' | 'region'> | void;
type ScalableArrangement = (
  made: ReturnType<typeof scalable>,
) => Omit<Partial<Arranged>, 'guest' | 'region'> | void;

/** Legacy mode with IOVA mapped; each row breaks one thing. */
function legacy(): { guest: Guest; tables: TableTree; region: VtdRegion; root: number; context: number } {
  const guest = new Guest();
  const tables = new TableTree(guest, 4);
  tables.map(IOVA, 1, 0x8000, RW);
  return { guest, tables, region: guest.region(), ...guest.legacy({ root: tables.root }) };
}

/** Scalable mode with IOVA mapped by the second stage, or by the first for PGTT 001. */
function scalable(pgtt = 0b010, entry: PasidFields = {}) {
  const guest = new Guest({ capability: SCALABLE_CAPABILITY });
  const tables = new TableTree(guest, 4, pgtt === 0b001 ? FIRST_STAGE_TABLE : RW);
  tables.map(IOVA, 1, 0x8000, pgtt === 0b001 ? USER_RW : RW);
  const stages = pgtt === 0b001 ? { firstStage: tables.root } : { secondStage: tables.root };
  return { guest, tables, region: guest.region(), ...guest.scalable({ pgtt, ...stages, ...entry }) };
}

function nested() {
  const made = nestedWorld();
  made.first.map(IOVA, 1, 0x40000, USER_RW);
  made.second.map(0x40000, 1, 0x8000, RW);
  return made;
}

function inLegacy(code: number, name: string, arrange: Arrangement): [number, string, () => Arranged] {
  return [code, name, () => finish(legacy(), arrange)];
}

function inSecondStage(
  code: number,
  name: string,
  arrange: ScalableArrangement,
): [number, string, () => Arranged] {
  return [code, name, () => finish(scalable(), arrange)];
}

function inFirstStage(
  code: number,
  name: string,
  arrange: ScalableArrangement,
): [number, string, () => Arranged] {
  return [code, name, () => finish(scalable(0b001), arrange)];
}

function inNested(
  code: number,
  name: string,
  arrange: (made: ReturnType<typeof nested>) => void,
): [number, string, () => Arranged] {
  return [code, name, () => finish(nested(), arrange)];
}

function finish<Made extends { guest: Guest; region: VtdRegion }>(
  made: Made,
  arrange: (made: Made) => Omit<Partial<Arranged>, 'guest' | 'region'> | void,
): Arranged {
  return { guest: made.guest, region: made.region, ...arrange(made) };
}

const ROWS: [number, string, () => Arranged][] = [
  inLegacy(0x08, 'LRT.1', ({ guest }) => void (guest.state.rootTable = OUTSIDE)),
  inLegacy(0x01, 'LRT.2', ({ guest, root }) => guest.set(root, (REQUESTER >> 8) * 2, 0n)),
  inLegacy(0x0a, 'LRT.3', ({ guest, root }) => guest.set(root, (REQUESTER >> 8) * 2, ABOVE_HAW | 1n)),
  inLegacy(0x09, 'LCT.1', ({ guest, root }) => guest.set(root, (REQUESTER >> 8) * 2, at(OUTSIDE) | 1n)),
  inLegacy(0x02, 'LCT.2', ({ guest, context }) => guest.setContext(context, { present: false })),
  inLegacy(0x0b, 'LCT.3', ({ guest, context }) => guest.set(context, (REQUESTER & 0xff) * 2, ABOVE_HAW | 1n)),
  inLegacy(0x03, 'LCT.4', ({ guest, context }) => guest.setContext(context, { aw: 3 })),
  inLegacy(0x07, 'LSS.1', ({ tables }) => tables.setEntry(IOVA, 2, at(OUTSIDE) | RW)),
  inLegacy(0x0c, 'LSS.2', ({ tables }) => tables.map(IOVA, 1, 0x8000, RW | ABOVE_HAW)),
  inLegacy(0x04, 'LGN.1', () => ({ page: 2 ** 36 })),
  inLegacy(0x05, 'LGN.2', ({ tables }) => {
    tables.setBits(IOVA, 2, 0b01n, RW);
    return { access: Access.Write };
  }),
  inLegacy(0x06, 'LGN.3', ({ tables }) => tables.setBits(IOVA, 2, 0b10n, RW)),
  inLegacy(0x0e, 'LGN.4', ({ tables }) => tables.map(IOVA, 1, 0xfee00, RW)),
  inLegacy(0x30, 'RTA.1', ({ guest }) => void (guest.state.translationTableMode = 0b10)),
  inLegacy(0x31, 'RTA.2', () => ({ pasid: 1 })),
  inLegacy(0x33, 'RTA.4', ({ guest }) => {
    guest.state.translationTableMode = 0b11;
    guest.state.capability = { ...guest.state.capability, ADMS: true };
  }),
  inSecondStage(0x38, 'SRT.1', ({ guest }) => void (guest.state.rootTable = OUTSIDE)),
  inSecondStage(0x39, 'SRT.2', ({ guest, root }) => guest.set(root, (REQUESTER >> 8) * 2, 0n)),
  inSecondStage(0x3a, 'SRT.3', ({ guest, root }) => guest.set(root, (REQUESTER >> 8) * 2, ABOVE_HAW | 1n)),
  inSecondStage(0x40, 'SCT.1', ({ guest, root }) => guest.set(root, (REQUESTER >> 8) * 2, at(OUTSIDE) | 1n)),
  inSecondStage(0x41, 'SCT.2', ({ guest, context }) => guest.setSmContext(context, { present: false })),
  inSecondStage(0x42, 'SCT.3', ({ guest, context }) =>
    guest.set(context, (REQUESTER & 0x7f) * 4, ABOVE_HAW | 1n),
  ),
  inSecondStage(0x43, 'SCT.4', ({ guest, context }) => guest.setSmContext(context, { ridPasid: 0x2000 })),
  inSecondStage(0x45, 'SCT.6', () => ({ pasid: 1 })),
  inSecondStage(0x46, 'SCT.7', ({ guest, context }) => {
    guest.setSmContext(context, { paside: true });
    return { pasid: 0x2000 };
  }),
  inSecondStage(0x50, 'SPD.1', ({ guest, context }) => guest.setSmContext(context, { directory: OUTSIDE })),
  inSecondStage(0x51, 'SPD.2', ({ guest, directory }) => guest.set(directory, 0, 0n)),
  inSecondStage(0x52, 'SPD.3', ({ guest, directory }) => guest.set(directory, 0, ABOVE_HAW | 1n)),
  inSecondStage(0x58, 'SPT.1', ({ guest, directory }) => guest.set(directory, 0, at(OUTSIDE) | 1n)),
  inSecondStage(0x59, 'SPT.2', ({ guest, table }) => guest.setPasid(table, 0, { present: false })),
  inSecondStage(0x5a, 'SPT.3', ({ guest, table }) => guest.set(table, 0, ABOVE_HAW | 1n)),
  inSecondStage(0x5b, 'SPT.4', ({ guest, table }) => guest.setPasid(table, 0, { pgtt: 0 })),
  inFirstStage(0x70, 'SFS.1', ({ tables }) => tables.setEntry(IOVA, 2, at(OUTSIDE) | USER_RW)),
  inFirstStage(0x71, 'SFS.2', ({ tables }) => tables.setEntry(IOVA, 3, 0n)),
  inFirstStage(0x72, 'SFS.3', ({ tables }) => tables.map(IOVA, 1, 0x8000, USER_RW | ABOVE_HAW)),
  inFirstStage(0x73, 'SFS.4', ({ guest, table }) =>
    guest.setPasid(table, 0, { pgtt: 0b001, firstStage: OUTSIDE }),
  ),
  inNested(0x74, 'SFS.5', ({ first }) => first.setEntry(IOVA, 2, at(2 ** 36) | USER_RW)),
  inNested(0x75, 'SFS.6', ({ first, second }) => second.setEntry(first.root, 1, 0n)),
  inNested(0x76, 'SFS.7', ({ first, second }) => second.setEntry(first.tableAt(IOVA, 1), 1, 0n)),
  inNested(0x77, 'SFS.8', ({ first, second }) => second.setBits(first.root, 1, 0b01n, RW)),
  inFirstStage(0x91, 'SFS.10', ({ guest, tables }) => guest.showAsRom(tables.root)),
  inSecondStage(0x78, 'SSS.1', ({ tables }) => tables.setEntry(IOVA, 2, at(OUTSIDE) | RW)),
  inSecondStage(0x79, 'SSS.2', ({ tables }) => tables.setEntry(IOVA, 1, 0n)),
  inSecondStage(0x7a, 'SSS.3', ({ tables }) => tables.map(IOVA, 1, 0x8000, RW | ABOVE_HAW)),
  inSecondStage(0x7b, 'SSS.4', ({ guest, table }) => guest.setPasid(table, 0, { secondStage: OUTSIDE })),
  inSecondStage(0x7d, 'SSS.6', ({ guest, table, tables }) => {
    guest.setPasid(table, 0, { secondStage: tables.root, ssade: true });
    guest.showAsRom(tables.root);
  }),
  inFirstStage(0x80, 'SGN.1', () => ({ page: 2 ** 35 })),
  inFirstStage(0x81, 'SGN.2', ({ tables }) => tables.setBits(IOVA, 3, 0b011n)),
  inSecondStage(0x83, 'SGN.4', ({ guest, table }) => {
    guest.setPasid(table, 0, { pgtt: 0b100 });
    return { page: 2 ** 34 };
  }),
  inSecondStage(0x84, 'SGN.5', () => ({ page: 2 ** 36 })),
  inSecondStage(0x85, 'SGN.6', ({ tables }) => {
    tables.setBits(IOVA, 1, 0b01n, RW);
    return { access: Access.Write };
  }),
  inSecondStage(0x86, 'SGN.7', ({ tables }) => tables.setBits(IOVA, 1, 0b10n, RW)),
  inSecondStage(0x87, 'SGN.8', ({ tables }) => tables.map(IOVA, 1, 0xfeeff, RW)),
];

/** Reasons that no path of this model can meet. */
const UNREACHABLE: Record<string, string> = {
  'LCT.5': 'blocks translation and translated requests; only untranslated requests arrive here',
  'RTA.3': 'page requests are not modelled',
  'SCT.5': 'translation and translated requests only',
  'SCT.8': 'page requests only',
  'SCT.9': 'an inconsistent RID_PASID is SCT.4',
  'SPT.5': 'execute requests are retired',
  'SPT.6': 'every request is a user request',
  'SFS.9': 'page walks here are always coherent',
  'SSS.5': 'page walks here are always coherent',
  'SGN.3': 'execute requests are retired',
};

/** Reasons that depend on what the access would do. */
const NEED_ACCESS: ReadonlySet<string> = new Set([
  'LGN.2',
  'LGN.3',
  'SFS.2',
  'SFS.8',
  'SFS.10',
  'SSS.2',
  'SSS.6',
  'SGN.6',
  'SGN.7',
]);

describe('fault reasons (VT-d 7.1.3)', () => {
  it.each(ROWS)('%i is %s, told to the fault logic with the page asked for', (code, condition, arrange) => {
    const { guest, region, page = IOVA, access = Access.Read, pasid } = arrange();

    const outcome = translated(region, page, access, pasid ?? 0);

    expect(outcome).toBe(condition);
    const isWrite = access === Access.Write;
    expect(guest.state.faults).toEqual([{ requester: REQUESTER, page, isWrite, pasid, code, fpd: false }]);
  });

  it.each(ROWS)('%i (%s) is not told to the fault logic by a question', (_code, condition, arrange) => {
    const { guest, region, page = IOVA, pasid } = arrange();

    const outcome = translated(region, page, Access.None, pasid ?? 0);

    // What only an access can meet is a leaf, or nothing mapped, to a question.
    const expected = NEED_ACCESS.has(condition) ? /^(-|[0-9a-f]+\+)/ : new RegExp(`^${condition}$`);
    expect(outcome).toMatch(expected);
    expect(guest.state.faults).toEqual([]);
  });

  it.each(['LRT.1', 'LCT.4', 'SSS.3', 'SGN.5'])(
    '%s names the condition and says it in words',
    (condition) => {
      const row = ROWS.find(([, name]) => name === condition);
      const { region, page = IOVA } = (row as (typeof ROWS)[number])[2]();

      expect(region.translatePage(page, Access.Read, 0).fault?.reason).toMatch(
        new RegExp(`^${condition}: \\w.+\\.$`),
      );
    },
  );

  it('are each met by a row above, or by no path', () => {
    const met = ROWS.map(([code]) => conditionOf(code));

    expect([...met, ...Object.keys(UNREACHABLE)].sort()).toEqual(
      FAULT_REASONS.map((each) => each.condition).sort(),
    );
  });
});
