/** Random sparse tables: edits at places where walkers go wrong, some of them nonsense. @module */
import fc from 'fast-check';
import { PS, spanOf, type TableTree } from './table-tree.ts';

/** One entry to be written. */
export interface Edit {
  /** Page counted from entry 0 of the top table. */
  readonly page: number;
  readonly level: number;
  /** `table` changes the rights of an entry on the way; `wild` writes `entry` whatever it means. */
  readonly kind: 'leaf' | 'table' | 'loop' | 'wild';
  readonly access: number;
  readonly target: number;
  /** A bit to set in addition, or -1. */
  readonly odd: number;
  readonly entry: bigint;
}

/** Where tables of some level begin and end. */
function anchors(levels: number): number[] {
  const places: number[] = [0];
  for (let level = 1; level <= levels; level++)
    places.push(512 ** level - 1, 512 ** level / 2, 512 ** level / 4);
  return places;
}

/** Up to a dozen edits of tables of `levels` levels. */
export function edits(levels: number): fc.Arbitrary<Edit[]> {
  const edit = fc
    .record({
      anchor: fc.constantFrom(...anchors(levels)),
      steps: fc.integer({ min: -2, max: 2 }),
      level: fc.integer({ min: 1, max: levels }),
      kind: fc.constantFrom('leaf', 'leaf', 'leaf', 'leaf', 'table', 'loop', 'wild'),
      access: fc.constantFrom(0, 1, 2, 3, 3, 3),
      target: fc.nat(0x7fffffff),
      odd: fc.constantFrom(
        -1,
        -1,
        -1,
        2,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
        20,
        21,
        29,
        36,
        39,
        46,
        51,
        52,
        62,
        63,
      ),
      entry: fc.bigInt(0n, 2n ** 64n - 1n),
    })
    .map(({ anchor, steps, ...rest }) => {
      const level = rest.kind === 'leaf' ? Math.min(3, rest.level) : rest.level;
      const page = Math.floor(anchor / spanOf(level)) * spanOf(level) + steps * spanOf(level);
      // The interrupt range has tests of its own: no leaf here leads into the 1 GiB around it.
      const target = rest.target >= 0xc0000 && rest.target < 0x100000 ? rest.target + 0x40000 : rest.target;
      return { ...rest, level, target, page: Math.min(512 ** levels - 1, Math.max(0, page)) } as Edit;
    });
  return fc.array(edit, { minLength: 1, maxLength: 12 });
}

/** Writes an edit; `present` are the bits of an entry with all rights, whose lowest two are what `access` replaces. */
export function write(tables: TableTree, edit: Edit, present: bigint): void {
  const { page, level, kind, target } = edit;
  const odd = edit.odd < 0 ? 0n : 1n << BigInt(edit.odd);
  const rights = (present & ~3n) | BigInt(edit.access);
  switch (kind) {
    case 'leaf': {
      const aligned = target - (target % spanOf(level));
      tables.setEntry(page, level, (BigInt(aligned) << 12n) | (level > 1 ? PS : 0n) | rights | odd);
      return;
    }
    case 'table': {
      const below = Math.max(1, level - 1);
      tables.tableAt(page, below);
      if (level > 1) tables.setBits(page, level, rights);
      return;
    }
    case 'loop': {
      // An entry that names one of the tables that exist, which may be the one that it is in.
      const { tables: all } = tables;
      const pointer = all[target % all.length];
      tables.setEntry(page, level, (BigInt(pointer) << 12n) | rights);
      return;
    }
    case 'wild':
      tables.setEntry(page, level, edit.entry);
  }
}

/** Pages at and beside every entry written, for tables whose entry 0 stands for page `base`. */
export function probesOf(list: readonly Edit[], levels: number, base: number): number[] {
  const size = 512 ** levels;
  const pages = list.flatMap(({ page, level }) => [
    page - 1,
    page,
    page + 1,
    page + spanOf(level) - 1,
    page + spanOf(level),
  ]);
  return [...pages, size - 1, size].map((page) => base + page);
}
