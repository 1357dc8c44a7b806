import { describe, expect, it } from 'vitest';
import { requesterId } from '../../../src/iommu/index.ts';
import { Access } from '../../../src/memory/index.ts';
import { lookupRequest } from '../../../src/models/vtd/request-translation.ts';
import type { Capability } from '../../../src/models/vtd/spec/index.ts';
import { conditionOf, leafText, translated, walked } from './observe.ts';
import { Guest, REQUESTER } from './table-builder.ts';
import { TableTree } from './table-tree.ts';

const RW = 0b11n;
const OUTSIDE = 0x20000;
const at = (page: number): bigint => BigInt(page) << 12n;
const CONTEXT_AT = (REQUESTER & 0xff) * 2;
const ROOT_AT = (REQUESTER >> 8) * 2;

/** How the requester is translated, in a word. */
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

describe('a legacy-mode request (VT-d 3.4.2)', () => {
  it('meets faults in the order of the structures: each repair uncovers the next', () => {
    const guest = new Guest({ haw: 46 });
    const tables = new TableTree(guest, 4);
    const { root, context } = guest.legacy({ root: tables.root });
    const region = guest.region();
    const seen: string[] = [];
    const access = (): void => void seen.push(translated(region, 2 ** 36, Access.Write));

    guest.state.rootTable = OUTSIDE;
    guest.set(root, ROOT_AT, at(OUTSIDE) | 0b10n);
    guest.set(context, CONTEXT_AT, at(OUTSIDE) | (0b11n << 2n) | (1n << 4n));
    access();
    guest.state.rootTable = root;
    access();
    guest.set(root, ROOT_AT, at(OUTSIDE) | 0b11n);
    access();
    guest.set(root, ROOT_AT, at(OUTSIDE) | 1n);
    access();
    guest.set(root, ROOT_AT, at(context) | 1n);
    access();
    guest.set(context, CONTEXT_AT, at(OUTSIDE) | (0b11n << 2n) | (1n << 4n) | 1n);
    access();
    guest.set(context, CONTEXT_AT, at(OUTSIDE) | (0b11n << 2n) | 1n);
    access();
    guest.set(context, CONTEXT_AT, at(OUTSIDE) | 1n);
    access();
    seen.push(translated(region, 0x400, Access.Write));
    guest.set(context, CONTEXT_AT, at(tables.root) | 1n);
    seen.push(translated(region, 0x400, Access.Write));

    const structures = ['LRT.1', 'LRT.2', 'LRT.3', 'LCT.1', 'LCT.2', 'LCT.3', 'LCT.4'];
    expect(seen).toEqual([...structures, 'LGN.1', 'LCT.4', 'LGN.2']);
  });

  it('finds its context by bus, device and function', () => {
    const guest = new Guest();
    const one = new TableTree(guest, 4);
    const other = new TableTree(guest, 4);
    one.map(0x400, 1, 0x10, RW);
    other.map(0x400, 1, 0x20, RW);
    const last = requesterId(255, 31, 7);
    const { root } = guest.legacy({ root: one.root });
    const context = guest.newPage();
    guest.set(root, 255 * 2, at(context) | 1n);
    guest.setContext(context, { root: other.root }, last);

    expect(translated(guest.region(), 0x400)).toBe(leafText(0x400, 1, 0x10, 3));
    expect(translated(guest.region(last), 0x400)).toBe(leafText(0x400, 1, 0x20, 3));
    expect(translated(guest.region(requesterId(254, 31, 7)), 0x400)).toBe('LRT.2');
    expect(translated(guest.region(requesterId(255, 31, 6)), 0x400)).toBe('LCT.2');
  });

  it('shows a visitor the structures on its way', () => {
    const guest = new Guest();
    const { root, context } = guest.legacy({ root: 0x77, did: 5 });
    const seen: unknown[] = [];

    lookupRequest(guest.state, REQUESTER, undefined, (step) => seen.push(step));

    expect(seen).toEqual([
      { structure: 'root entry', table: root, offset: 2 * 16, words: [context * 4096 + 1, 0, 0, 0] },
      { structure: 'context entry', table: context, offset: 0x19 * 16, words: [0x77001, 0, 0x502, 0] },
    ]);
  });

  it('with a PASID is RTA.2', () => {
    const guest = new Guest();
    guest.legacy({ root: 0x77 });

    expect(kind(guest, 1)).toBe('RTA.2');
  });
});

describe('reserved bits of legacy structures', () => {
  it.each([39, 46, 52])('in root entries with %i-bit host addresses', (haw) => {
    const guest = new Guest({ haw });
    const { root } = guest.legacy({ root: 0x77 });

    expect(faultingBits(guest, root, ROOT_AT, 2, 'LRT.3')).toEqual([
      ...bits(11, 1),
      ...bits(63, haw),
      ...bits(127, 64),
    ]);
  });

  it.each([39, 46, 52])('in context entries with %i-bit host addresses', (haw) => {
    const guest = new Guest({ haw });
    const { context } = guest.legacy({ root: 0x77 });
    const expected = [...bits(11, 4), ...bits(63, haw), 71, ...bits(127, 88)];

    expect(faultingBits(guest, context, CONTEXT_AT, 2, 'LCT.3')).toEqual(expected);
  });
});

describe('AW of a legacy context entry (VT-d 9.3)', () => {
  const NONE = 'LCT.4';
  const THREE = 'second-stage';

  it.each([
    { SAGAW: 0b0010, kinds: [NONE, THREE, NONE, NONE, NONE, NONE, NONE, NONE] },
    { SAGAW: 0b0110, kinds: [NONE, THREE, THREE, NONE, NONE, NONE, NONE, NONE] },
    { SAGAW: 0b1110, kinds: [NONE, THREE, THREE, THREE, NONE, NONE, NONE, NONE] },
    { SAGAW: 0b0100, kinds: [NONE, NONE, THREE, NONE, NONE, NONE, NONE, NONE] },
    { SAGAW: 0b10001, kinds: [NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE] },
  ])('is one of those that SAGAW $SAGAW offers', ({ SAGAW, kinds }) => {
    const guest = new Guest({ capability: { SAGAW } });
    const { context } = guest.legacy({ root: 0x77 });

    const seen = kinds.map((_, aw) => {
      guest.setContext(context, { root: 0x77, aw });
      return kind(guest);
    });

    expect(seen).toEqual(kinds);
  });

  it('says how many levels the tables have', () => {
    const guest = new Guest({ capability: { SAGAW: 0b1110 } });
    const { context } = guest.legacy({ root: 0x77 });

    const levels = [1, 2, 3].map((aw) => {
      guest.setContext(context, { root: 0x77, aw, did: 9 });
      return lookupRequest(guest.state, REQUESTER, undefined);
    });

    expect(levels).toMatchObject([
      { kind: 'second-stage', domain: 9, secondStage: { root: 0x77, levels: 3 } },
      { kind: 'second-stage', domain: 9, secondStage: { root: 0x77, levels: 4 } },
      { kind: 'second-stage', domain: 9, secondStage: { root: 0x77, levels: 5 } },
    ]);
  });
});

describe('TT of a legacy context entry (VT-d 9.3)', () => {
  const TYPES = [
    { capability: {}, kinds: ['second-stage', 'LCT.4', 'pass-through', 'LCT.4'] },
    { capability: { DT: true }, kinds: ['second-stage', 'second-stage', 'pass-through', 'LCT.4'] },
    { capability: { PT: false }, kinds: ['second-stage', 'LCT.4', 'LCT.4', 'LCT.4'] },
  ] satisfies { capability: Partial<Capability>; kinds: string[] }[];

  it.each(TYPES)('is usable as far as $capability goes', ({ capability, kinds }) => {
    const guest = new Guest({ capability });
    const { context } = guest.legacy({ root: 0x77 });

    const seen = [0b00, 0b01, 0b10, 0b11].map((tt) => {
      guest.setContext(context, { root: 0x77, tt });
      return kind(guest);
    });

    expect(seen).toEqual(kinds);
  });

  it.each([
    { SAGAW: 0b0010, aw: 1 },
    { SAGAW: 0b0110, aw: 2 },
    { SAGAW: 0b1110, aw: 3 },
  ])('passes through only with the largest AW of SAGAW $SAGAW, which is $aw', ({ SAGAW, aw }) => {
    const guest = new Guest({ capability: { SAGAW } });
    const { context } = guest.legacy({ root: 0x77 });

    const passing = bits(7, 0).filter((each) => {
      guest.setContext(context, { tt: 0b10, aw: each });
      return kind(guest) === 'pass-through';
    });

    expect(passing).toEqual([aw]);
  });

  it('passes through as far as host addresses go', () => {
    const guest = new Guest({ haw: 39 });
    guest.legacy({ tt: 0b10, aw: 2 });
    const region = guest.region();

    expect(translated(region, 2 ** 27 - 1, Access.Write)).toBe(leafText(2 ** 27 - 1, 1, 2 ** 27 - 1, 3));
    expect(translated(region, 2 ** 27, Access.Write)).toBe('LGN.1');
    expect(translated(region, 0xfee00, Access.Write)).toBe('LGN.4');
    expect(walked(region).leaves).toEqual([leafText(0, 2 ** 27, 0, 3)]);
  });
});

/** FPD as the unit was told of it, with the condition. */
function recorded(guest: Guest): [string, boolean][] {
  translated(guest.region(), 0x400, Access.Read);
  return guest.state.faults.splice(0).map(({ code, fpd }) => [conditionOf(code), fpd]);
}

describe('FPD of a legacy context entry (VT-d 7.2.1)', () => {
  it('counts whether the entry is present or not', () => {
    const guest = new Guest();
    const { context } = guest.legacy({ fpd: true, present: false });
    const absent = recorded(guest);
    guest.setContext(context, { fpd: true, root: OUTSIDE });

    expect(absent).toEqual([['LCT.2', true]]);
    expect(recorded(guest)).toEqual([['LCT.4', true]]);
  });

  it('counts for the faults of the tables', () => {
    const guest = new Guest();
    const tables = new TableTree(guest, 4);
    guest.legacy({ fpd: true, root: tables.root });

    expect(recorded(guest)).toEqual([['LGN.3', true]]);
  });

  it('is not there while it is clear, nor before the entry was read', () => {
    const guest = new Guest();
    const { root } = guest.legacy({ root: OUTSIDE });
    const clear = recorded(guest);
    guest.set(root, ROOT_AT, at(OUTSIDE) | 1n);

    expect(clear).toEqual([['LCT.4', false]]);
    expect(recorded(guest)).toEqual([['LCT.1', false]]);
  });
});
