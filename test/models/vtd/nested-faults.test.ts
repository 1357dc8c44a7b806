import { describe, expect, it } from 'vitest';
import { Access } from '../../../src/memory/index.ts';
import { FIRST_STAGE_TABLES_AT, type NestedWorld, nestedWorld } from './nested-world.ts';
import { leafText, takeFaults, translated } from './observe.ts';

const USER_RW = 0b111n;
const RW = 0b11n;
const IOVA = 0x400;
const MIDDLE = 0x40000;

/** One page mapped through both stages. */
function world(): NestedWorld {
  const made = nestedWorld();
  made.first.map(IOVA, 1, MIDDLE, USER_RW);
  made.second.map(MIDDLE, 1, 0x8000, RW);
  return made;
}

/** Points the entry of `level` on the way to IOVA at the guest-physical page `pointer`. */
function pointAt({ first }: NestedWorld, level: number, pointer: number): void {
  first.setEntry(IOVA, level, (BigInt(pointer) << 12n) | USER_RW);
}

function fsptptr(made: NestedWorld, pointer: number): void {
  made.guest.setPasid(made.pasidTable, 0, {
    pgtt: 0b011,
    secondStage: made.second.root,
    firstStage: pointer,
  });
}

describe('a first-stage table that the second stage keeps from being read', () => {
  it.each([2, 3, 4])('is SFS.5 when an entry of level %i names an address beyond its width', (level) => {
    const made = world();
    pointAt(made, level, 2 ** 36);

    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.5');
  });

  it('is SFS.5 when FSPTPTR is an address beyond its width', () => {
    const made = world();
    fsptptr(made, 2 ** 40 - 1);

    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.5');
  });

  it('is SFS.6 when it is the top table and not mapped', () => {
    const made = world();
    fsptptr(made, 0x12345);

    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.6');
  });

  it('is SFS.6 when it is the top table and write-only', () => {
    const made = world();
    made.second.setBits(FIRST_STAGE_TABLES_AT, 1, 0b10n, RW);

    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.6');
  });

  it.each([2, 3, 4])('is SFS.7 when an entry of level %i names what is not mapped', (level) => {
    const made = world();
    pointAt(made, level, 0x12345);

    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.7');
  });

  it('is SFS.7 when it is a lower table and write-only', () => {
    const made = world();
    made.second.setBits(made.first.tableAt(IOVA, 1), 1, 0b10n, RW);

    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.7');
  });

  it('is the second stage’s own fault when that has one', () => {
    const made = world();
    const table = made.first.tableAt(IOVA, 1);
    made.second.setEntry(table, 1, made.second.getEntry(table, 1) | (1n << 62n));
    const reserved = translated(made.region, IOVA, Access.Read);
    made.second.setEntry(table, 2, (0x20000n << 12n) | RW);
    const lower = translated(made.region, IOVA, Access.Read);
    made.guest.setPasid(made.pasidTable, 0, {
      pgtt: 0b011,
      secondStage: 0x20000,
      firstStage: made.first.root,
    });

    expect([reserved, lower]).toEqual(['SSS.3', 'SSS.1']);
    expect(translated(made.region, IOVA, Access.Read)).toBe('SSS.4');
  });

  it('is SFS.4 or SFS.1 when the second stage leads it out of RAM', () => {
    const made = world();
    made.second.map(0x12345, 1, 0x20000, RW);
    pointAt(made, 2, 0x12345);
    const lower = translated(made.region, IOVA, Access.Read);
    fsptptr(made, 0x12345);

    expect(lower).toBe('SFS.1');
    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.4');
  });
});

describe('a page that the first stage gives and the second does not', () => {
  it('is SGN.5 when it is beyond the second stage’s width', () => {
    const made = world();
    made.first.map(IOVA, 1, 2 ** 36, USER_RW);

    expect(translated(made.region, IOVA)).toBe('SGN.5');
    expect(translated(made.region, IOVA, Access.Read)).toBe('SGN.5');
  });

  it.each([
    { name: 'not mapped', entry: 0n, read: 'SSS.2', write: 'SSS.2' },
    { name: 'read-only', entry: 0b01n, read: leafText(IOVA, 1, 0, 1), write: 'SGN.6' },
    { name: 'write-only', entry: 0b10n, read: 'SGN.7', write: leafText(IOVA, 1, 0, 2) },
    { name: 'behind a reserved bit', entry: (1n << 62n) | RW, read: 'SSS.3', write: 'SSS.3' },
  ])('is $read to a read and $write to a write when it is $name', ({ entry, read, write }) => {
    const made = world();
    made.second.setEntry(MIDDLE, 1, entry);

    expect(translated(made.region, IOVA, Access.Read)).toBe(read);
    expect(translated(made.region, IOVA, Access.Write)).toBe(write);
  });

  it('is SSS.2 when the levels of the second stage agree to nothing', () => {
    const made = world();
    made.second.map(MIDDLE, 1, 0x8000, 0b10n);
    made.second.setBits(MIDDLE, 2, 0b01n, RW);

    expect(translated(made.region, IOVA)).toBe('-');
    expect(translated(made.region, IOVA, Access.Read)).toBe('SSS.2');
  });

  it('is not asked for when the first stage refuses the access', () => {
    const made = world();
    made.first.setBits(IOVA, 1, 0b101n);
    made.second.setEntry(MIDDLE, 1, 0n);

    expect(translated(made.region, IOVA, Access.Write)).toBe('SGN.6');
  });

  it('is SGN.8 when both stages lead into the interrupt range', () => {
    const made = world();
    made.second.map(MIDDLE, 1, 0xfee00, RW);

    expect(translated(made.region, IOVA, Access.Write)).toBe('SGN.8');
  });
});

describe('the first stage of a nested translation', () => {
  it('has its own faults as ever', () => {
    const made = world();
    const seen = [
      translated(made.region, 2 ** 35, Access.Read),
      translated(made.region, IOVA + 1, Access.Read),
    ];
    made.first.setBits(IOVA, 1, 0b011n);
    seen.push(translated(made.region, IOVA, Access.Read));
    made.first.setEntry(IOVA, 4, made.first.getEntry(IOVA, 4) | (1n << 7n));
    seen.push(translated(made.region, IOVA, Access.Read));

    expect(seen).toEqual(['SGN.1', 'SFS.2', 'SGN.2', 'SFS.3']);
    expect(takeFaults(made.guest)).toEqual(seen);
  });
});

function withSsade(): NestedWorld {
  const made = world();
  const { second, first } = made;
  made.guest.setPasid(made.pasidTable, 0, {
    pgtt: 0b011,
    secondStage: second.root,
    firstStage: first.root,
    ssade: true,
  });
  return made;
}

describe('accessed and dirty flags of a nested translation', () => {
  const A = 1n << 5n;
  const D = 1n << 6n;
  const SS_A = 1n << 8n;
  const SS_D = 1n << 9n;

  /** Flags of the leaf that maps a guest-physical page. */
  function leafFlags({ second }: NestedWorld, page: number): bigint {
    return second.getEntry(page, 1) & (SS_A | SS_D);
  }

  it('are set in the first stage, whose tables the second stage lets be written', () => {
    const made = world();

    translated(made.region, IOVA, Access.Write);

    const levels = [4, 3, 2, 1].map((level) => made.first.getEntry(IOVA, level) & (A | D));
    expect(levels).toEqual([A, A, A, A | D]);
    expect(leafFlags(made, MIDDLE)).toBe(0n);
  });

  it('are SFS.8 where the second stage does not', () => {
    const made = world();
    made.second.setBits(made.first.tableAt(IOVA, 2), 1, 0b01n, RW);

    expect(translated(made.region, IOVA)).toBe(leafText(IOVA, 1, 0x8000, 3));
    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.8');
    expect(takeFaults(made.guest)).toEqual(['SFS.8']);
  });

  it('are SFS.10 where the second stage does, but the platform does not', () => {
    const made = world();
    made.guest.showAsRom(made.first.pageOf(made.first.tableAt(IOVA, 2)));

    expect(translated(made.region, IOVA, Access.Read)).toBe('SFS.10');
  });

  it('are set in the second stage too with SSADE: tables whose flags were set count as written', () => {
    const made = withSsade();

    translated(made.region, IOVA, Access.Read);

    expect(leafFlags(made, made.first.root)).toBe(SS_A | SS_D);
    expect(leafFlags(made, made.first.tableAt(IOVA, 1))).toBe(SS_A | SS_D);
    expect(leafFlags(made, MIDDLE)).toBe(SS_A);
    expect(made.second.getEntry(MIDDLE, 4) & (SS_A | SS_D)).toBe(SS_A);
  });

  it('leave tables that needed no flag read only, and make the page dirty that was written', () => {
    const made = withSsade();
    for (const level of [4, 3, 2]) made.first.setEntry(IOVA, level, made.first.getEntry(IOVA, level) | A);

    translated(made.region, IOVA, Access.Write);

    expect(leafFlags(made, made.first.root)).toBe(SS_A);
    expect(leafFlags(made, made.first.tableAt(IOVA, 1))).toBe(SS_A | SS_D);
    expect(leafFlags(made, MIDDLE)).toBe(SS_A | SS_D);
  });

  it('are SSS.6 where the second stage’s own tables cannot be written', () => {
    const made = withSsade();
    made.guest.showAsRom(made.second.tableAt(MIDDLE, 1));

    expect(translated(made.region, IOVA, Access.Read)).toBe('SSS.6');
  });

  it('are left alone in both stages by questions', () => {
    const made = withSsade();

    translated(made.region, IOVA, Access.None);

    expect(made.first.getEntry(IOVA, 1) & (A | D)).toBe(0n);
    expect(leafFlags(made, MIDDLE)).toBe(0n);
  });
});
