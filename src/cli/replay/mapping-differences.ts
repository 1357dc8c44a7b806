/** Two listings of mappings held against each other. @module */
import type { Mapping } from '../../iommu/index.ts';
import { Access, addressOf, bytesOf, formatAccess, formatPage } from '../../memory/index.ts';

/** Which comparison found a difference. */
export type Comparison =
  | 'replay against the tables'
  | 'replay against QEMU'
  | 'host against the final tables'
  | 'host at the end against QEMU'
  | 'final tables against the recorded memory'
  | 'final tables against the listing';

/** One mapping that is not as expected. Byte addresses. */
export interface MappingDifference {
  readonly what: 'missing' | 'extra' | 'different';
  readonly where: Comparison;
  readonly iova: bigint;
  readonly size: bigint;
  /** What should be there, for people. */
  readonly expected?: string;
  /** What is there, for people. */
  readonly actual?: string;
}

/** Differences that a collection lists; further ones are only counted. */
const LISTED = 100;

/** What several comparisons found. */
export class Differences {
  readonly listed: MappingDifference[] = [];
  count = 0;

  add(difference: MappingDifference): void {
    this.count++;
    if (this.listed.length < LISTED) this.listed.push(difference);
  }
}

/**
 * Holds `actual` against `expected`, both ascending and without overlaps, and adds what differs to `into`. True when
 * they are equal.
 */
export function compareMappings(
  expected: Iterable<Mapping>,
  actual: Iterable<Mapping>,
  where: Comparison,
  into: Differences,
): boolean {
  const before = into.count;
  const left = expected[Symbol.iterator]();
  const right = actual[Symbol.iterator]();
  let want = next(left);
  let have = next(right);
  while (want !== undefined || have !== undefined) {
    if (have === undefined || (want !== undefined && want.iova < have.iova)) {
      const mapping = want as Mapping;
      into.add({ ...place(mapping, where), what: 'missing', expected: describe(mapping) });
      want = next(left);
    } else if (want === undefined || have.iova < want.iova) {
      into.add({ ...place(have, where), what: 'extra', actual: describe(have) });
      have = next(right);
    } else {
      if (!same(want, have)) {
        into.add({
          ...place(want, where),
          what: 'different',
          expected: describe(want),
          actual: describe(have),
        });
      }
      want = next(left);
      have = next(right);
    }
  }
  return into.count === before;
}

/** The mappings as QEMU's VFIO code tells them: it knows read-only and the rest, so `w` becomes `rw`. */
export function* asQemuTells(mappings: Iterable<Mapping>): Iterable<Mapping> {
  for (const mapping of mappings)
    yield mapping.access === Access.Write ? { ...mapping, access: Access.ReadWrite } : mapping;
}

/**
 * Neighbours that continue each other as one mapping: what two hosts with pages of different sizes have in common.
 * The input must ascend.
 */
export function* joinRuns(mappings: Iterable<Mapping>): Iterable<Mapping> {
  let run: Mapping | undefined;
  for (const mapping of mappings) {
    const continues =
      run !== undefined &&
      run.iova + run.pages === mapping.iova &&
      run.target + run.pages === mapping.target &&
      run.access === mapping.access;
    if (run !== undefined && continues) {
      run = { ...run, pages: run.pages + mapping.pages };
    } else {
      if (run !== undefined) yield run;
      run = mapping;
    }
  }
  if (run !== undefined) yield run;
}

function next(iterator: Iterator<Mapping>): Mapping | undefined {
  const result = iterator.next();
  return result.done === true ? undefined : result.value;
}

function same(want: Mapping, have: Mapping): boolean {
  return want.pages === have.pages && want.target === have.target && want.access === have.access;
}

function place(mapping: Mapping, where: Comparison): Pick<MappingDifference, 'where' | 'iova' | 'size'> {
  return { where, iova: addressOf(mapping.iova), size: bytesOf(mapping.pages) };
}

function describe({ pages, target, access }: Mapping): string {
  return `${bytesOf(pages)} bytes at GPA ${formatPage(target)} ${formatAccess(access)}`;
}
