import { describe, expect, it } from 'vitest';
import { Access } from '../../../src/memory/index.ts';
import { lookupRequest } from '../../../src/models/vtd/request-translation.ts';
import type { Capability } from '../../../src/models/vtd/spec/index.ts';
import { conditionOf, leafText, translated, walked } from './observe.ts';
import {
  Guest,
  type PasidFields,
  REQUESTER,
  SCALABLE_CAPABILITY,
  type SmContextFields,
} from './table-builder.ts';
import { TableTree } from './table-tree.ts';

const RW = 0b11n;
const OUTSIDE = 0x20000;
const at = (page: number): bigint => BigInt(page) << 12n;

function scalableGuest(capability: Partial<Capability> = {}, haw = 46): Guest {
  return new Guest({ haw, capability: { ...SCALABLE_CAPABILITY, ...capability } });
}

function kind(guest: Guest, pasid?: number): string {
  const translation = lookupRequest(guest.state, REQUESTER, pasid);
  return translation.kind === 'fault' ? conditionOf(translation.code) : translation.kind;
}

function bits(msb: number, lsb: number): number[] {
  return Array.from({ length: msb - lsb + 1 }, (_, i) => lsb + i);
}

describe('PGTT, AW and FSPM of a PASID-table entry (VT-d 9.6)', () => {
  const KINDS = ['SPT.4', 'first-stage', 'second-stage', 'nested', 'pass-through', 'SPT.4', 'SPT.4', 'SPT.4'];
  const without = (...types: number[]): string[] =>
    KINDS.map((each, i) => (types.includes(i) ? 'SPT.4' : each));

  it.each([
    { capability: {}, kinds: KINDS },
    { capability: { FSTS: false }, kinds: without(1, 3) },
    { capability: { SSTS: false }, kinds: without(2, 3) },
    { capability: { NEST: false }, kinds: without(3) },
    { capability: { PT: false }, kinds: without(4) },
  ])('a type is usable as far as the unit, $capability, offers it', ({ capability, kinds }) => {
    const guest = scalableGuest(capability);
    const { table } = guest.scalable({});

    const seen = KINDS.map((_, pgtt) => {
      guest.setPasid(table, 0, { pgtt });
      return kind(guest);
    });

    expect(seen).toEqual(kinds);
  });

  it('AW matters where there is a second stage', () => {
    const guest = scalableGuest({ SAGAW: 0b0110 });
    const { table } = guest.scalable({});
    const seen = [0b001, 0b010, 0b011, 0b100].map((pgtt) =>
      bits(7, 0).filter((aw) => {
        guest.setPasid(table, 0, { pgtt, aw });
        return kind(guest) !== 'SPT.4';
      }),
    );

    expect(seen).toEqual([bits(7, 0), [1, 2], [1, 2], bits(7, 0)]);
  });

  it.each([
    { FS5LP: true, usable: [0, 1] },
    { FS5LP: false, usable: [0] },
  ])('FSPM matters where there is a first stage (FS5LP $FS5LP)', ({ FS5LP, usable }) => {
    const guest = scalableGuest({ FS5LP });
    const { table } = guest.scalable({});
    const seen = [0b001, 0b010, 0b011, 0b100].map((pgtt) =>
      bits(3, 0).filter((fspm) => {
        guest.setPasid(table, 0, { pgtt, fspm });
        return kind(guest) !== 'SPT.4';
      }),
    );

    expect(seen).toEqual([usable, bits(3, 0), usable, bits(3, 0)]);
  });

  it('the entry’s fields reach the tables', () => {
    const guest = scalableGuest();
    const { table } = guest.scalable({});
    const fields: PasidFields = {
      pgtt: 0b011,
      aw: 3,
      fspm: 1,
      secondStage: 0x77,
      firstStage: 0x88,
      did: 0xabcd,
    };
    guest.setPasid(table, 0, { ...fields, ssade: true, eafe: true });

    expect(lookupRequest(guest.state, REQUESTER, undefined)).toEqual({
      kind: 'nested',
      domain: 0xabcd,
      fpd: false,
      firstStage: { root: 0x88, levels: 5 },
      secondStage: { root: 0x77, levels: 5 },
      extendedAccessed: true,
      keepsFlags: true,
    });
  });
});

describe('PASIDs', () => {
  const PDTS = [0, 1, 2, 3, 4, 5, 6, 7];

  it.each(PDTS)('end with the directory that PDTS %i describes', (pdts) => {
    const guest = scalableGuest();
    const last = 2 ** (pdts + 13) - 1;
    guest.scalable({ pgtt: 0b100 }, { paside: true, pdts, directory: 0x4000 }, last);

    expect(kind(guest, last)).toBe('pass-through');
    expect(kind(guest, last + 1)).toBe('SCT.7');
  });

  it('of requests without one is RID_PASID, which the directory must hold', () => {
    const guest = scalableGuest();
    const pages = guest.scalable({ pgtt: 0b100 }, { ridPasid: 0x1fff });
    const held = kind(guest);
    guest.setSmContext(pages.context, { ridPasid: 0x2000, directory: pages.directory });

    expect(held).toBe('pass-through');
    expect(kind(guest)).toBe('SCT.4');
  });

  it('of requests without one is 0 where the unit has no RID_PASID', () => {
    const guest = scalableGuest({ RPS: false });
    guest.scalable({ pgtt: 0b100 }, {}, 0);

    expect(kind(guest)).toBe('pass-through');
  });

  it('are refused without PASIDE, before their size is looked at', () => {
    const guest = scalableGuest();
    guest.scalable({ pgtt: 0b100 }, {}, 5);

    expect(kind(guest, 5)).toBe('SCT.6');
    expect(kind(guest, 0xfffff)).toBe('SCT.6');
  });

  it('each have tables of their own', () => {
    const guest = scalableGuest();
    const rid = new TableTree(guest, 4);
    const own = new TableTree(guest, 4);
    rid.map(0x400, 1, 0x10, RW);
    own.map(0x400, 1, 0x20, RW);
    const { table } = guest.scalable({ secondStage: rid.root, did: 1 }, { paside: true }, 0);
    guest.setPasid(table, 5, { secondStage: own.root, did: 2 });
    const region = guest.region();

    expect(translated(region, 0x400, Access.Read, 0)).toBe(leafText(0x400, 1, 0x10, 3));
    expect(translated(region, 0x400, Access.Read, 5)).toBe(leafText(0x400, 1, 0x20, 3));
    expect(walked(region, undefined, { index: 5 }).leaves).toEqual([leafText(0x400, 1, 0x20, 3)]);
    expect(translated(region, 0x400, Access.Read, 6)).toBe('SPT.2');
  });

  it('stand in the faults of requests that carried one, RID_PASID does not', () => {
    const guest = scalableGuest();
    const { table } = guest.scalable({ present: false }, { paside: true, ridPasid: 7 }, 7);
    guest.setPasid(table, 9, { present: false });
    const region = guest.region();

    translated(region, 0x400, Access.Read);
    translated(region, 0x401, Access.Write, 9);

    expect(guest.state.faults).toEqual([
      { requester: REQUESTER, page: 0x400, isWrite: false, pasid: undefined, code: 0x59, fpd: false },
      { requester: REQUESTER, page: 0x401, isWrite: true, pasid: 9, code: 0x59, fpd: false },
    ]);
  });
});

describe('pass-through in scalable mode', () => {
  it('reaches as far as host addresses go, interrupts left out', () => {
    const guest = scalableGuest({}, 39);
    guest.scalable({ pgtt: 0b100 }, { paside: true }, 3);
    const region = guest.region();

    expect(translated(region, 2 ** 27 - 1, Access.Write, 3)).toBe(leafText(2 ** 27 - 1, 1, 2 ** 27 - 1, 3));
    expect(translated(region, 2 ** 27, Access.Write, 3)).toBe('SGN.4');
    expect(translated(region, 0xfeeff, Access.Write, 3)).toBe('SGN.8');
    expect(walked(region, undefined, { index: 3 }).leaves).toEqual([leafText(0, 2 ** 27, 0, 3)]);
  });
});

/** FPD as the unit was told of it, with the condition. */
function recorded(context: SmContextFields, directory: bigint, entry: PasidFields): [string, boolean][] {
  const guest = scalableGuest();
  const pages = guest.scalable(entry, context);
  guest.set(pages.directory, 0, at(pages.table) | directory);
  translated(guest.region(), 0x400, Access.Read);
  return guest.state.faults.map(({ code, fpd }) => [conditionOf(code), fpd]);
}

describe('FPD in scalable mode (VT-d 7.2.1)', () => {
  it.each([
    {
      where: 'nowhere',
      context: {},
      directory: 1n,
      entry: { secondStage: OUTSIDE },
      expected: ['SSS.4', false],
    },
    {
      where: 'a present context entry',
      context: { fpd: true },
      directory: 1n,
      entry: { secondStage: OUTSIDE },
      expected: ['SSS.4', true],
    },
    {
      where: 'an absent context entry',
      context: { fpd: true, present: false },
      directory: 1n,
      entry: {},
      expected: ['SCT.2', true],
    },
    {
      where: 'a present directory entry',
      context: {},
      directory: 3n,
      entry: { secondStage: OUTSIDE },
      expected: ['SSS.4', true],
    },
    { where: 'an absent directory entry', context: {}, directory: 2n, entry: {}, expected: ['SPD.2', true] },
    {
      where: 'a present table entry',
      context: {},
      directory: 1n,
      entry: { secondStage: OUTSIDE, fpd: true },
      expected: ['SSS.4', true],
    },
    {
      where: 'an absent table entry',
      context: {},
      directory: 1n,
      entry: { fpd: true, present: false },
      expected: ['SPT.2', true],
    },
    {
      where: 'an entry that was not reached',
      context: {},
      directory: 0n,
      entry: { fpd: true },
      expected: ['SPD.2', false],
    },
  ])('counts when it is set in $where', ({ context, directory, entry, expected }) => {
    expect(recorded(context, directory, entry)).toEqual([expected]);
  });
});
