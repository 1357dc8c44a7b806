/**
 * The reference: tables read entry by entry as the specification's figures have them, in bigint, without masks
 * prepared, batches, budgets or anything else that is clever. It reads what the test wrote and never the model.
 *
 * @module
 */
import type { Capability } from '../../../src/models/vtd/spec/index.ts';
import { leafText } from './observe.ts';
import type { Guest } from './table-builder.ts';

/** What a page translates to: a leaf, a fault, or (legacy second stage) nothing that has a name of its own. */
export type Reference =
  | { readonly iova: bigint; readonly pages: bigint; readonly target: bigint; readonly access: number }
  | { readonly fault: string }
  | { readonly fault: undefined };

/** A page that is mapped, if only without rights. */
export type Leaf = Extract<Reference, { iova: bigint }>;

/** One stage, for one unit. */
export interface ReferenceStage {
  readonly levels: number;
  readonly root: bigint;
  /** Input pages that it translates: `[start, end)` each. */
  readonly ranges: readonly (readonly [bigint, bigint])[];
  /** The condition for any other page. */
  readonly beyond: string;
  /** Reads the word `index` of a table at `pointer`; text for the condition of a table that cannot be read. */
  read(pointer: bigint, index: bigint, isTop: boolean): bigint | string;
  isPresent(entry: bigint): boolean;
  /** The condition for an entry that is not present. */
  readonly notPresent: string | undefined;
  /** The condition for a present entry, or undefined when it is sound. */
  wrong(entry: bigint, level: number): string | undefined;
}

const bits = (msb: number, lsb: number): bigint => ((1n << BigInt(msb - lsb + 1)) - 1n) << BigInt(lsb);
const bit = (n: number): bigint => 1n << BigInt(n);
const above = (haw: number): bigint => (haw >= 52 ? 0n : bits(51, haw));

function readWritten(guest: Guest, pointer: bigint, index: bigint, unreadable: string): bigint | string {
  return guest.isRam(pointer) ? (guest.written.get(pointer * 512n + index) ?? 0n) : unreadable;
}

/** A second stage of `levels` levels at page `root` (VT-d 3.7, 9.8). */
export function secondStageReference(
  guest: Guest,
  root: number,
  levels: number,
  scalable: boolean,
): ReferenceStage {
  const { capability, haw } = guest.state;
  const width = Math.min(12 + 9 * levels, capability.MGAW);
  const names = scalable
    ? { beyond: 'SGN.5', top: 'SSS.4', lower: 'SSS.1', reserved: 'SSS.3', notPresent: 'SSS.2' }
    : { beyond: 'LGN.1', top: 'LCT.4', lower: 'LSS.1', reserved: 'LSS.2', notPresent: undefined };
  return {
    levels,
    root: BigInt(root),
    ranges: [[0n, 1n << BigInt(width - 12)]],
    beyond: names.beyond,
    read: (pointer, index, isTop) => readWritten(guest, pointer, index, isTop ? names.top : names.lower),
    isPresent: (entry) => (entry & 3n) !== 0n,
    notPresent: names.notPresent,
    wrong: (entry, level) =>
      (entry & secondStageReserved(capability, haw, level, entry)) === 0n ? undefined : names.reserved,
  };
}

function isLeaf(entry: bigint, level: number): boolean {
  return level === 1 || (level <= 3 && (entry & bit(7)) !== 0n);
}

/** Bits that must be zero in a present second-stage entry. */
export function secondStageReserved(
  capability: Capability,
  haw: number,
  level: number,
  entry: bigint,
): bigint {
  const everywhere = bit(62) | above(haw);
  if (!isLeaf(entry, level)) return everywhere | bit(11) | bit(7);
  const snoop = capability.SC ? 0n : bit(11);
  if (level === 1) return everywhere | snoop;
  const offered = level === 2 ? (capability.SSLPS & 1) !== 0 : (capability.SSLPS & 2) !== 0;
  return everywhere | snoop | bits(level === 2 ? 20 : 29, 12) | (offered ? 0n : bit(7));
}

/** A first stage of `levels` levels at page `root`, used by user requests (VT-d 3.6, 9.7). */
export function firstStageReference(guest: Guest, root: number, levels: number): ReferenceStage {
  const { capability, haw } = guest.state;
  return {
    ...firstStageRules(capability, levels, haw),
    root: BigInt(root),
    read: (pointer, index, isTop) => readWritten(guest, pointer, index, isTop ? 'SFS.4' : 'SFS.1'),
  };
}

/** A first stage whose tables and leaves lie behind `second` (VT-d 3.8). */
export function nestedFirstReference(
  guest: Guest,
  root: number,
  levels: number,
  second: ReferenceStage,
): ReferenceStage {
  const places: Map<bigint, Reference> = new Map();
  return {
    // Addresses in nested first-stage entries are the second stage's to judge.
    ...firstStageRules(guest.state.capability, levels, 52),
    root: BigInt(root),
    read: (pointer, index, isTop) => {
      const place = places.get(pointer) ?? lookUp(second, pointer);
      places.set(pointer, place);
      if (!('iova' in place)) {
        if (place.fault === 'SGN.5') return 'SFS.5';
        if (place.fault !== 'SSS.2' && place.fault !== undefined) return place.fault;
      }
      if (!('iova' in place) || (place.access & 1) === 0) return isTop ? 'SFS.6' : 'SFS.7';
      const page = place.target + (pointer - place.iova);
      return readWritten(guest, page, index, isTop ? 'SFS.4' : 'SFS.1');
    },
  };
}

function firstStageRules(
  capability: Capability,
  levels: number,
  haw: number,
): Omit<ReferenceStage, 'root' | 'read'> {
  const half = 1n << BigInt(9 * levels - 1);
  return {
    levels,
    ranges: [
      [0n, half],
      [(1n << 52n) - half, 1n << 52n],
    ],
    beyond: 'SGN.1',
    isPresent: (entry) => (entry & 1n) !== 0n,
    notPresent: 'SFS.2',
    wrong: (entry, level) => {
      if ((entry & firstStageReserved(capability, haw, level, entry)) !== 0n) return 'SFS.3';
      return (entry & bit(2)) === 0n ? 'SGN.2' : undefined;
    },
  };
}

/** Bits that must be zero in a present first-stage entry. */
export function firstStageReserved(
  capability: Capability,
  haw: number,
  level: number,
  entry: bigint,
): bigint {
  if (!isLeaf(entry, level)) return above(haw) | bit(7);
  if (level === 1) return above(haw);
  const offered = level === 2 || capability.FS1GP;
  return above(haw) | bits(level === 2 ? 20 : 29, 13) | (offered ? 0n : bit(7));
}

/** One page through one stage; `visit` sees the pointer to each table and the entry read there. */
export function lookUp(
  stage: ReferenceStage,
  page: bigint,
  visit?: (pointer: bigint, entry: bigint, isLeaf: boolean) => void,
): Reference {
  if (!stage.ranges.some(([start, end]) => page >= start && page < end)) return { fault: stage.beyond };
  let table = stage.root;
  let access = 3;
  for (let level = stage.levels; ; level--) {
    const index = (page >> BigInt(9 * (level - 1))) & 511n;
    const entry = stage.read(table, index, level === stage.levels);
    if (typeof entry === 'string') return { fault: entry };
    if (!stage.isPresent(entry)) return { fault: stage.notPresent };
    const wrong = stage.wrong(entry, level);
    if (wrong !== undefined) return { fault: wrong };
    access &= Number(entry & 3n);
    const named = (entry & bits(51, 12)) >> 12n;
    visit?.(table, entry, isLeaf(entry, level));
    if (isLeaf(entry, level)) {
      const pages = 1n << BigInt(9 * (level - 1));
      return { iova: page - (page % pages), pages, target: named - (named % pages), access };
    }
    table = named;
  }
}

/** One page through both stages. */
export function lookUpNested(first: ReferenceStage, second: ReferenceStage, page: bigint): Reference {
  const outer = lookUp(first, page);
  if (!('iova' in outer)) return outer;
  const middle = outer.target + (page - outer.iova);
  const inner = lookUp(second, middle);
  if (!('iova' in inner)) return inner;
  const pages = outer.pages < inner.pages ? outer.pages : inner.pages;
  const offset = page % pages;
  const target = inner.target + (middle - inner.iova) - offset;
  return { iova: page - offset, pages, target, access: outer.access & inner.access };
}

/** The leaves of one stage that allow anything, ascending, found by looking at every entry of every table. */
export function allLeaves(stage: ReferenceStage): Leaf[] {
  const found: Leaf[] = [];
  for (const [start, end] of stage.ranges) {
    const base = start - (start % (1n << BigInt(9 * stage.levels)));
    visitTable(stage, stage.levels, stage.root, base, 3, (leaf) => {
      if (leaf.access !== 0 && leaf.iova + leaf.pages > start && leaf.iova < end) found.push(leaf);
    });
  }
  return found;
}

function visitTable(
  stage: ReferenceStage,
  level: number,
  table: bigint,
  base: bigint,
  allowed: number,
  visit: (leaf: Leaf) => void,
): void {
  const pages = 1n << BigInt(9 * (level - 1));
  for (let index = 0n; index < 512n; index++) {
    const entry = stage.read(table, index, level === stage.levels);
    if (typeof entry === 'string') return;
    if (!stage.isPresent(entry) || stage.wrong(entry, level) !== undefined) continue;
    const iova = base + index * pages;
    const access = allowed & Number(entry & 3n);
    const named = (entry & bits(51, 12)) >> 12n;
    if (isLeaf(entry, level)) visit({ iova, pages, target: named - (named % pages), access });
    else visitTable(stage, level - 1, named, iova, access, visit);
  }
}

/** Asking for a page, in the words of `translated`: what has no right at all counts as nothing mapped. */
export function referenceText(found: Reference): string {
  if ('iova' in found)
    return found.access === 0 ? '-' : leafText(found.iova, found.pages, found.target, found.access);
  return found.fault === undefined || found.fault === 'SFS.2' || found.fault === 'SSS.2' ? '-' : found.fault;
}
