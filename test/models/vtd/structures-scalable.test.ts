import { describe, expect, it } from 'vitest';
import { requesterId } from '../../../src/iommu/index.ts';
import { Access } from '../../../src/memory/index.ts';
import { lookupRequest } from '../../../src/models/vtd/request-translation.ts';
import type { Capability } from '../../../src/models/vtd/spec/index.ts';
import { conditionOf, translated } from './observe.ts';
import { Guest, REQUESTER, SCALABLE_CAPABILITY } from './table-builder.ts';
import { TableTree } from './table-tree.ts';

const OUTSIDE = 0x20000;
const at = (page: number): bigint => BigInt(page) << 12n;
const ROOT_AT = (REQUESTER >> 8) * 2;
const CONTEXT_AT = (REQUESTER & 0x7f) * 4;

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

/** The bits that, set in addition, make a structure of `words` 64-bit words a fault `condition`. */
function faultingBits(guest: Guest, page: number, index: number, words: number, condition: string): number[] {
  const found: number[] = [];
  for (let bit = 0; bit < 64 * words; bit++) {
    const word = index + Math.floor(bit / 64);
    const sound = guest.get(page, word);
    guest.set(page, word, sound | (1n << BigInt(bit % 64)));
    if (kind(guest) === condition) found.push(bit);
    guest.set(page, word, sound);
  }
  return found;
}

describe('a scalable-mode request (VT-d 3.4.3)', () => {
  it('meets faults in the order of the structures: each repair uncovers the next', () => {
    const guest = scalableGuest();
    const tables = new TableTree(guest, 4);
    const { root, context, directory, table } = guest.scalable({ secondStage: tables.root });
    const region = guest.region();
    const seen: string[] = [];
    const access = (): void => void seen.push(translated(region, 2 ** 36, Access.Write));
    const badContext = at(OUTSIDE) | (1n << 5n);

    guest.state.rootTable = OUTSIDE;
    guest.set(root, ROOT_AT, at(OUTSIDE) | 0b10n);
    guest.set(context, CONTEXT_AT, badContext);
    guest.set(context, CONTEXT_AT + 1, 0x2000n);
    guest.set(directory, 0x80, at(OUTSIDE) | 0b100n);
    guest.set(table, 0, at(OUTSIDE) | (1n << 5n) | (7n << 6n));
    access();
    guest.state.rootTable = root;
    access();
    guest.set(root, ROOT_AT, at(OUTSIDE) | 0b11n);
    access();
    guest.set(root, ROOT_AT, at(OUTSIDE) | 1n);
    access();
    guest.set(root, ROOT_AT, at(context) | 1n);
    access();
    guest.set(context, CONTEXT_AT, badContext | 1n);
    access();
    guest.set(context, CONTEXT_AT, at(OUTSIDE) | 1n);
    access();
    guest.set(context, CONTEXT_AT, at(OUTSIDE) | (1n << 9n) | 1n);
    access();
    guest.set(context, CONTEXT_AT, at(directory) | (1n << 9n) | 1n);
    access();
    guest.set(directory, 0x80, at(OUTSIDE) | 0b101n);
    access();
    guest.set(directory, 0x80, at(OUTSIDE) | 1n);
    access();
    guest.set(directory, 0x80, at(table) | 1n);
    access();
    guest.set(table, 0, at(OUTSIDE) | (1n << 5n) | (7n << 6n) | 1n);
    access();
    guest.set(table, 0, at(OUTSIDE) | (7n << 6n) | 1n);
    access();
    guest.setPasid(table, 0, { secondStage: OUTSIDE });
    access();
    seen.push(translated(region, 0x400, Access.Write));
    guest.setPasid(table, 0, { secondStage: tables.root });
    seen.push(translated(region, 0x400, Access.Write));

    const upToContext = ['SRT.1', 'SRT.2', 'SRT.3', 'SCT.1', 'SCT.2', 'SCT.3', 'SCT.4'];
    const pasid = ['SPD.1', 'SPD.2', 'SPD.3', 'SPT.1', 'SPT.2', 'SPT.3', 'SPT.4'];
    expect(seen).toEqual([...upToContext, ...pasid, 'SGN.5', 'SSS.4', 'SSS.2']);
  });

  it.each([
    { requester: requesterId(2, 15, 7), half: 'lower' },
    { requester: requesterId(2, 16, 0), half: 'upper' },
  ])(
    'of function $requester is looked up, and judged, in the $half half of its root entry',
    ({ requester, half }) => {
      const guest = scalableGuest();
      const { root } = guest.scalable({ pgtt: 0b100 }, {}, 0, requester);
      const otherHalf = 2 * 2 + (half === 'lower' ? 1 : 0);
      guest.set(root, otherHalf, (1n << 64n) - 1n);

      expect(lookupRequest(guest.state, requester, undefined).kind).toBe('pass-through');
      expect(translated(guest.region(requester ^ 0x80), 0)).toBe('SRT.3');
    },
  );

  it('shows a visitor the structures on its way', () => {
    const guest = scalableGuest();
    const requester = requesterId(1, 20, 3);
    const pages = guest.scalable({ pgtt: 0b100, did: 6 }, { ridPasid: 0x4321, pdts: 2 }, 0x4321, requester);
    const seen: { structure: string; table: number; offset: number }[] = [];

    lookupRequest(guest.state, requester, undefined, (step) => seen.push(step));

    expect(seen.map(({ structure, table, offset }) => [structure, table, offset])).toEqual([
      ['upper root entry', pages.root, 16 + 8],
      ['scalable-mode context entry', pages.context, 0x23 * 32],
      ['PASID-directory entry', pages.directory, (0x4321 >> 6) * 8],
      ['PASID-table entry', pages.table, 0x21 * 64],
    ]);
  });
});

describe('reserved bits of scalable-mode structures', () => {
  it.each([39, 46, 52])('in half a root entry with %i-bit host addresses', (haw) => {
    const guest = scalableGuest({}, haw);
    const { root } = guest.scalable({});

    expect(faultingBits(guest, root, ROOT_AT, 1, 'SRT.3')).toEqual([...bits(11, 1), ...bits(63, haw)]);
  });

  it.each([
    { name: 'no ATS, no page requests', capability: {}, extra: [2, 4, 84] },
    { name: 'ATS', capability: { DT: true }, extra: [4, 84] },
    { name: 'page requests', capability: { PRS: true }, extra: [2, 84] },
    { name: 'RID_PRIV', capability: { RPRIVS: true }, extra: [2, 4] },
    { name: 'no PASIDs', capability: { PASID: false }, extra: [2, 3, 4, 84] },
    { name: 'no RID_PASID', capability: { RPS: false }, extra: [2, 4, ...bits(84, 64)] },
  ])('in context entries of a unit with $name', ({ capability, extra }) => {
    const guest = scalableGuest(capability);
    const { context } = guest.scalable({});
    const expected = [...bits(8, 5), ...bits(63, 46), ...bits(127, 85), ...bits(255, 128), ...extra];

    const found = faultingBits(guest, context, CONTEXT_AT, 4, 'SCT.3');

    expect(found).toEqual(expected.sort((a, b) => a - b));
  });

  it('in PASID-directory entries', () => {
    const guest = scalableGuest();
    const { directory } = guest.scalable({});

    expect(faultingBits(guest, directory, 0, 1, 'SPD.3')).toEqual([...bits(11, 2), ...bits(63, 46)]);
  });

  const NOT_OFFERED = [87, 88, 89, 90, ...bits(127, 96), 128];
  const ALWAYS = [
    5,
    10,
    11,
    ...bits(63, 46),
    ...bits(86, 80),
    ...bits(95, 91),
    129,
    ...bits(139, 136),
    ...bits(511, 192),
  ];

  it.each([
    { name: 'all kinds of tables', capability: {}, pgtt: 0b010, extra: [...NOT_OFFERED, ...bits(191, 174)] },
    { name: 'a nested entry', capability: {}, pgtt: 0b011, extra: NOT_OFFERED },
    {
      name: 'snoop control and memory types',
      capability: { SC: true, MTS: true, SMPWCS: true, SRS: true },
      pgtt: 0b010,
      extra: bits(191, 174),
    },
    {
      name: 'no accessed flags',
      capability: { SSADS: false, EAFS: false },
      pgtt: 0b010,
      extra: [9, ...NOT_OFFERED, 135, ...bits(191, 174)],
    },
    {
      name: 'no first stage',
      capability: { FSTS: false },
      pgtt: 0b010,
      extra: [...NOT_OFFERED, ...bits(132, 130), ...bits(191, 140)],
    },
    {
      name: 'no second stage',
      capability: { SSTS: false },
      pgtt: 0b001,
      extra: [...bits(45, 12), ...NOT_OFFERED, ...bits(191, 174)],
    },
  ])('in PASID-table entries: $name', ({ capability, pgtt, extra }) => {
    const guest = scalableGuest(capability);
    const { table } = guest.scalable({ pgtt });

    const found = faultingBits(guest, table, 0, 8, 'SPT.3');

    expect(found).toEqual([...ALWAYS, ...extra].sort((a, b) => a - b));
  });
});
