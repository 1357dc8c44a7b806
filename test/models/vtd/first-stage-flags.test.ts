import { describe, expect, it } from 'vitest';
import { Access, dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { RequesterSpace } from '../../../src/models/vtd/requester-space.ts';
import { takeFaults, translated, walked } from './observe.ts';
import { Guest, type PasidFields, REQUESTER, SCALABLE_CAPABILITY } from './table-builder.ts';
import { FIRST_STAGE_TABLE, SECOND_STAGE_TABLE, TableTree } from './table-tree.ts';

const IOVA = 0x12345;
const A = 1n << 5n;
const D = 1n << 6n;
const EA = 1n << 10n;
const SS_A = 1n << 8n;
const SS_D = 1n << 9n;

interface World {
  readonly guest: Guest;
  readonly tables: TableTree;
}

function firstStage(entry: Partial<PasidFields> = {}): World {
  const guest = new Guest({ capability: SCALABLE_CAPABILITY });
  const tables = new TableTree(guest, 4, FIRST_STAGE_TABLE);
  tables.map(IOVA, 1, 0x80, 0b111n);
  guest.scalable({ pgtt: 0b001, firstStage: tables.root, ...entry });
  return { guest, tables };
}

function secondStage(ssade: boolean): World {
  const guest = new Guest({ capability: SCALABLE_CAPABILITY });
  const tables = new TableTree(guest, 4, SECOND_STAGE_TABLE);
  tables.map(IOVA, 1, 0x80, 0b11n);
  guest.scalable({ pgtt: 0b010, secondStage: tables.root, ssade });
  return { guest, tables };
}

/** The bits of `mask` that are set in the entries for IOVA, top level first. */
function flags(tables: TableTree, mask: bigint): bigint[] {
  return Array.from({ length: tables.levels }, (_, i) => tables.getEntry(IOVA, tables.levels - i) & mask);
}

describe('accessed and dirty flags of the first stage (VT-d 3.6.2)', () => {
  const ALL = A | D | EA;

  it('are left alone by whoever asks', () => {
    const { guest, tables } = firstStage();

    translated(guest.region(), IOVA, Access.None);

    expect(flags(tables, ALL)).toEqual([0n, 0n, 0n, 0n]);
  });

  it('are left alone by a walk', () => {
    const { guest, tables } = firstStage();

    const { leaves } = walked(guest.region());

    expect(leaves).toHaveLength(1);
    expect(flags(tables, ALL)).toEqual([0n, 0n, 0n, 0n]);
  });

  it('are left alone by an access that is refused', () => {
    const { guest, tables } = firstStage();
    tables.setBits(IOVA, 1, 0b101n);

    expect(translated(guest.region(), IOVA, Access.Write)).toBe('SGN.6');
    expect(flags(tables, ALL)).toEqual([0n, 0n, 0n, 0n]);
  });

  it('say of a read that every entry was accessed', () => {
    const { guest, tables } = firstStage();

    translated(guest.region(), IOVA, Access.Read);

    expect(flags(tables, ALL)).toEqual([A, A, A, A]);
  });

  it('say of a write that the leaf is dirty too', () => {
    const { guest, tables } = firstStage();

    translated(guest.region(), IOVA, Access.Write);

    expect(flags(tables, ALL)).toEqual([A, A, A, A | D]);
  });

  it('say of a write after a read that the leaf is dirty, IOTLB or not', () => {
    const { guest, tables } = firstStage();
    const region = guest.region();
    translated(region, IOVA, Access.Read);

    translated(region, IOVA, Access.Write);

    expect(flags(tables, ALL)).toEqual([A, A, A, A | D]);
  });

  it('include the extended one where EAFE is set', () => {
    const { guest, tables } = firstStage({ eafe: true });

    translated(guest.region(), IOVA, Access.Write);

    expect(flags(tables, ALL)).toEqual([A | EA, A | EA, A | EA, A | EA | D]);
  });

  it('are set in a large leaf', () => {
    const { guest, tables } = firstStage();
    tables.map(IOVA, 2, 0x200, 0b111n);

    translated(guest.region(), IOVA, Access.Write);

    expect(tables.getEntry(IOVA, 2)).toBe((0x200n << 12n) | (1n << 7n) | 0b111n | A | D);
  });

  it('are set by DMA through the address space', () => {
    const { guest, tables } = firstStage();
    const { space } = new RequesterSpace(guest.state, REQUESTER, { interrupt: () => false });

    dmaRead(space, BigInt(IOVA) << 12n, new Uint8Array(4));
    const afterRead = flags(tables, ALL);
    dmaWrite(space, BigInt(IOVA) << 12n, new Uint8Array(4));

    expect(afterRead).toEqual([A, A, A, A]);
    expect(flags(tables, ALL)).toEqual([A, A, A, A | D]);
  });

  it('that cannot be set are SFS.10, and no access', () => {
    const { guest, tables } = firstStage();
    guest.showAsRom(tables.tableAt(IOVA, 1));

    expect(translated(guest.region(), IOVA, Access.None)).not.toBe('SFS.10');
    expect(translated(guest.region(), IOVA, Access.Read)).toBe('SFS.10');
    expect(takeFaults(guest)).toEqual(['SFS.10']);
  });

  it('that need no setting need no writable table', () => {
    const { guest, tables } = firstStage();
    const region = guest.region();
    translated(region, IOVA, Access.Write);
    guest.showAsRom(tables.tableAt(IOVA, 1));
    region.invalidate({ start: IOVA, end: IOVA + 1 });

    expect(translated(region, IOVA, Access.Write)).toBe('12345+1>80 rw');
  });
});

describe('accessed and dirty flags of the second stage (VT-d 3.7.2)', () => {
  const ALL = SS_A | SS_D;

  it('are not kept without SSADE', () => {
    const { guest, tables } = secondStage(false);

    translated(guest.region(), IOVA, Access.Write);

    expect(flags(tables, ALL)).toEqual([0n, 0n, 0n, 0n]);
  });

  it('are kept with SSADE', () => {
    const { guest, tables } = secondStage(true);
    const region = guest.region();

    translated(region, IOVA, Access.Read);
    const afterRead = flags(tables, ALL);
    translated(region, IOVA, Access.Write);

    expect(afterRead).toEqual([SS_A, SS_A, SS_A, SS_A]);
    expect(flags(tables, ALL)).toEqual([SS_A, SS_A, SS_A, SS_A | SS_D]);
  });

  it('are left alone by questions and walks', () => {
    const { guest, tables } = secondStage(true);
    const region = guest.region();

    translated(region, IOVA, Access.None);
    walked(region);

    expect(flags(tables, ALL)).toEqual([0n, 0n, 0n, 0n]);
  });

  it('that cannot be set are SSS.6', () => {
    const { guest, tables } = secondStage(true);
    guest.showAsRom(tables.tableAt(IOVA, 2));

    expect(translated(guest.region(), IOVA, Access.Read)).toBe('SSS.6');
  });
});
