import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Access, PAGES_END } from '../../../src/memory/index.ts';
import {
  allLeaves,
  type Leaf,
  lookUp,
  lookUpNested,
  nestedFirstReference,
  type ReferenceStage,
  referenceText,
  secondStageReference,
} from './brute-force.ts';
import { type NestedWorld, nestedWorld } from './nested-world.ts';
import { translated, walked } from './observe.ts';
import { type Edit, edits, probesOf, write } from './random-tables.ts';

const USER_RW = 0b111n;
const RW = 0b11n;
const A = 1n << 5n;
const D = 1n << 6n;

/** What an access gets: the first stage judges it before the second stage is asked. */
function nestedAccessText(
  first: ReferenceStage,
  second: ReferenceStage,
  page: bigint,
  access: 1 | 2,
): string {
  const outer = lookUp(first, page);
  if (!('iova' in outer)) return outer.fault ?? 'none';
  const lacking = access === Access.Write ? 'SGN.6' : 'SGN.7';
  if ((outer.access & access) === 0) return lacking;
  const inner = lookUp(second, outer.target + (page - outer.iova));
  if (!('iova' in inner)) return inner.fault ?? 'none';
  if (inner.access === 0) return 'SSS.2';
  if ((inner.access & access) === 0) return lacking;
  let canKeepFlags = true;
  lookUp(first, page, (pointer, entry, isLeaf) => {
    const flags = isLeaf && access === Access.Write ? A | D : A;
    const table = lookUp(second, pointer);
    const isWritable = 'iova' in table && (table.access & Access.Write) !== 0;
    canKeepFlags &&= isWritable || (entry & flags) === flags;
  });
  return canKeepFlags ? referenceText(lookUpNested(first, second, page)) : 'SFS.8';
}

/** Second-stage leaves where the first stage's leaves lead, so that they often lead somewhere. */
interface Middle {
  readonly page: number;
  readonly level: number;
  readonly rights: bigint;
}

const middles: fc.Arbitrary<Middle[]> = fc.array(
  fc.record({
    page: fc.nat(0x7ff),
    level: fc.constantFrom(1, 1, 2),
    rights: fc.constantFrom(0n, 1n, 2n, 3n, 3n),
  }),
  { maxLength: 40 },
);

const sizes = fc.record({ firstLevels: fc.constantFrom(4, 5), secondLevels: fc.constantFrom(4, 5) });

function build(
  size: { firstLevels: number; secondLevels: number },
  firstEdits: readonly Edit[],
  leaves: readonly Middle[],
  secondEdits: readonly Edit[],
): NestedWorld {
  const world = nestedWorld(size);
  for (const edit of firstEdits) write(world.first, { ...edit, target: edit.target % 0x800 }, USER_RW);
  for (const { page, level, rights } of leaves) {
    const aligned = level === 1 ? page : page - (page % 0x200);
    world.second.map(aligned, level, 0x8000 + aligned, rights);
  }
  for (const edit of secondEdits) write(world.second, edit, RW);
  return world;
}

/** Pages at and beside all that was written, some within each leaf, and the ends of both halves. */
function pagesToAsk(firstEdits: readonly Edit[], first: ReferenceStage, leaves: readonly Leaf[]): number[] {
  const upper = PAGES_END - 512 ** first.levels;
  const pages = new Set([
    0,
    0x1ff,
    0x200,
    upper,
    ...probesOf(firstEdits, 4, 0),
    ...probesOf(firstEdits, 4, upper),
  ]);
  for (const { iova, pages: size } of leaves) {
    for (let i = 0n; i < size && i < 0x400n; i += 61n) pages.add(Number(iova + i));
    pages.add(Number(iova + size - 1n));
  }
  return [...pages].filter((page) => page >= 0 && page < PAGES_END);
}

/** The leaves between two pages, found page by page. */
function piecesBetween(first: ReferenceStage, second: ReferenceStage, start: bigint, end: bigint): string[] {
  const pieces: string[] = [];
  for (let page = start; page < end; ) {
    const piece = lookUpNested(first, second, page);
    const mapped = 'iova' in piece && piece.access !== 0;
    if (mapped) pieces.push(referenceText(piece));
    page = mapped ? piece.iova + piece.pages : page + 1n;
  }
  return pieces;
}

describe('random nested tables', () => {
  it('give questions, accesses and walks what the reference gives', () => {
    const secondEdits = fc.oneof(fc.constant([]), edits(4));
    fc.assert(
      fc.property(sizes, edits(4), middles, secondEdits, (size, firstEdits, leaves, others) => {
        const world = build(size, firstEdits, leaves, others);
        const second = secondStageReference(world.guest, world.second.root, size.secondLevels, true);
        const first = nestedFirstReference(world.guest, world.first.root, size.firstLevels, second);
        const outer = allLeaves(first);
        const asked = pagesToAsk(firstEdits, first, outer);
        const found = asked.map((page) => lookUpNested(first, second, BigInt(page)));

        expect(asked.map((page) => translated(world.region, page))).toEqual(found.map(referenceText));
        for (const access of [Access.Read, Access.Write]) {
          const expected = asked.map((page) => nestedAccessText(first, second, BigInt(page), access));
          expect(asked.map((page) => translated(world.region, page, access))).toEqual(expected);
        }
        for (const { iova, pages } of outer.filter((leaf) => leaf.pages <= 0x200n)) {
          const { leaves: seen } = walked(world.region, { start: Number(iova), end: Number(iova + pages) });
          expect(seen).toEqual(piecesBetween(first, second, iova, iova + pages));
        }
      }),
      { numRuns: 25 },
    );
  });
});
