/**
 * The reference: host page tables read entry by entry as the specification's figures have them, in bigint, without
 * masks prepared, batches, budgets or anything else that is clever.
 *
 * @module
 */
import { leafText } from './observe.ts';

/** Reads the 64-bit entry `index` of the table at a page; undefined outside RAM. */
export type ReadEntry = (table: bigint, index: bigint) => bigint | undefined;

/** Tables as a device table entry names them. */
export interface ReferenceTables {
  readonly root: number;
  readonly mode: number;
  /** IR (1) and IW (2) of the device table entry. */
  readonly access: number;
}

const bits = (value: bigint, msb: number, lsb: number): bigint =>
  (value >> BigInt(lsb)) & ((1n << BigInt(msb - lsb + 1)) - 1n);

/** A leaf, `fault` with the code in hexadecimal, or `-`: what asking for `page` gives. */
export function lookUp(tables: ReferenceTables, read: ReadEntry, page: number): string {
  const address = BigInt(page) << 12n;
  let level = tables.mode;
  let table = BigInt(tables.root);
  let access = BigInt(tables.access);
  if (address >> BigInt(12 + 9 * level) !== 0n) return 'fault 2000';
  for (;;) {
    const entry = read(table, bits(address, 11 + 9 * level, 12 + 9 * (level - 1)));
    if (entry === undefined) return 'fault 4200';
    if (bits(entry, 0, 0) === 0n) return '-';
    const nextLevel = Number(bits(entry, 11, 9));
    access &= bits(entry, 62, 61);
    if (nextLevel !== 0 && nextLevel !== 7) {
      if (nextLevel >= level) return 'fault 2010';
      if (bits(entry, 60, 52) !== 0n) return 'fault 2090';
      // Skipped levels stand for zeros.
      if (bits(address, 11 + 9 * (level - 1), 12 + 9 * nextLevel) !== 0n && nextLevel < level - 1) return '-';
      table = bits(entry, 51, 12);
      level = nextLevel;
      continue;
    }
    if (bits(entry, 58, 52) !== 0n) return 'fault 2090';
    const own = 1n << BigInt(12 + 9 * (level - 1));
    const size = nextLevel === 0 ? own : sizeOf(entry);
    if (nextLevel === 7 && (size === undefined || size <= own || size >= own << 9n)) return 'fault 2010';
    const bytes = size as bigint;
    if (access === 0n) return '-';
    const target = (bits(entry, 51, 12) << 12n) & ~(bytes - 1n);
    return leafText((address & ~(bytes - 1n)) >> 12n, bytes >> 12n, target >> 12n, Number(access));
  }
}

function sizeOf(entry: bigint): bigint | undefined {
  for (let n = 12; n < 52; n++) if (((entry >> BigInt(n)) & 1n) === 0n) return 1n << BigInt(n + 1);
  return undefined;
}
