import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Access, PAGES_END } from '../../../src/memory/index.ts';
import {
  allLeaves,
  firstStageReference,
  lookUp,
  type Reference,
  type ReferenceStage,
  referenceText,
  secondStageReference,
} from './brute-force.ts';
import { leafText, translated, walked } from './observe.ts';
import { type Edit, edits, probesOf, write } from './random-tables.ts';
import { Guest, REQUESTER, SCALABLE_CAPABILITY } from './table-builder.ts';
import { FIRST_STAGE_TABLE, TableTree } from './table-tree.ts';

interface Unit {
  readonly haw: number;
  readonly MGAW: number;
  readonly SSLPS: number;
  readonly SC: boolean;
  readonly FS1GP: boolean;
}

const units: fc.Arbitrary<Unit> = fc.record({
  haw: fc.constantFrom(36, 39, 46, 52),
  MGAW: fc.constantFrom(36, 39, 47, 48, 56, 57),
  SSLPS: fc.constantFrom(0, 1, 2, 3, 3, 3),
  SC: fc.boolean(),
  FS1GP: fc.boolean(),
});

/** What a request for `access` gets from the reference. */
function accessText(
  found: Reference,
  access: Access,
  denied: (missing: number, allowed: number) => string,
): string {
  if (!('iova' in found)) return found.fault ?? denied(access, 0);
  const missing = access & ~found.access;
  return missing === 0
    ? leafText(found.iova, found.pages, found.target, found.access)
    : denied(missing, found.access);
}

function withoutRights(text: string): string {
  return text.replace(/ r?w?$/, '');
}

/** Walks, asks and accesses, all against the reference. */
function agree(
  guest: Guest,
  stage: ReferenceStage,
  probes: readonly number[],
  denied: (missing: number, allowed: number) => string,
): void {
  const region = guest.region(REQUESTER, { iotlb: false });
  const remembering = guest.region();
  const expected = allLeaves(stage);
  const pages = new Set(probes);
  for (const { iova, pages: size } of expected) {
    for (const page of [iova - 1n, iova, iova + size - 1n, iova + size]) pages.add(Number(page));
  }
  const asked = [...pages].filter((page) => page >= 0 && page < PAGES_END).sort((a, b) => a - b);
  const references = asked.map((page) => lookUp(stage, BigInt(page)));

  expect(walked(region).leaves).toEqual(expected.map(referenceText));
  expect(asked.map((page) => translated(region, page))).toEqual(references.map(referenceText));
  for (const access of [Access.Write, Access.Read]) {
    const results = references.map((found) => accessText(found, access, denied));
    expect(asked.map((page) => translated(region, page, access))).toEqual(results);
    // What is remembered may show fewer rights than the tables give, but never another place or outcome.
    const again = asked.map((page) => translated(remembering, page, access));
    expect(again.map(withoutRights)).toEqual(results.map(withoutRights));
  }
  for (let i = 1; i < asked.length; i += 2) {
    const range = { start: asked[i - 1], end: asked[i] };
    const within = expected.filter(
      ({ iova, pages: size }) => iova < BigInt(range.end) && iova + size > BigInt(range.start),
    );
    expect(walked(region, range).leaves).toEqual(within.map(referenceText));
  }
}

function written(guest: Guest, levels: number, list: readonly Edit[], present: bigint): TableTree {
  const tables = new TableTree(guest, levels, present === 0b111n ? FIRST_STAGE_TABLE : 0b11n);
  for (const edit of list) write(tables, edit, present);
  return tables;
}

describe('random sparse tables', () => {
  it.each([3, 4, 5])(
    'second stage of %i levels: walk, questions and accesses equal the reference',
    (levels) => {
      fc.assert(
        fc.property(units, fc.boolean(), edits(levels), (unit, scalable, list) => {
          const capability = scalable ? { ...SCALABLE_CAPABILITY, ...unit } : { SAGAW: 0b1110, ...unit };
          const guest = new Guest({ haw: unit.haw, capability });
          const tables = written(guest, levels, list, 0b11n);
          if (scalable) guest.scalable({ secondStage: tables.root, aw: levels - 2 });
          else guest.legacy({ root: tables.root, aw: levels - 2 });
          const stage = secondStageReference(guest, tables.root, levels, scalable);
          const name = (missing: number): string => {
            if ((missing & 2) !== 0) return scalable ? 'SGN.6' : 'LGN.2';
            return scalable ? 'SGN.7' : 'LGN.3';
          };

          agree(guest, stage, probesOf(list, levels, 0), (missing, allowed) =>
            scalable && allowed === 0 ? 'SSS.2' : name(missing),
          );
        }),
        { numRuns: 40 },
      );
    },
  );

  it.each([4, 5])('first stage of %i levels: walk, questions and accesses equal the reference', (levels) => {
    fc.assert(
      fc.property(units, edits(levels), (unit, list) => {
        const guest = new Guest({ haw: unit.haw, capability: { ...SCALABLE_CAPABILITY, ...unit } });
        const tables = written(guest, levels, list, 0b111n);
        guest.scalable({ pgtt: 0b001, fspm: levels - 4, firstStage: tables.root });
        const stage = firstStageReference(guest, tables.root, levels);
        const upperHalf = PAGES_END - 512 ** levels;

        agree(
          guest,
          stage,
          [...probesOf(list, levels, 0), ...probesOf(list, levels, upperHalf)],
          () => 'SGN.6',
        );
      }),
      { numRuns: 40 },
    );
  });
});
