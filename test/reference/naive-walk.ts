/** The test format walked one address at a time, with 64-bit arithmetic and no masks shared with the walker. @module */
import { PageCursor } from '../../src/memory/index.ts';
import type { RadixTable } from '../../src/iommu/index.ts';

/** Where one page leads. A hole or a fault covers `pages` pages from `iova` on. */
export interface NaiveStep {
  readonly kind: 'leaf' | 'hole' | 'fault';
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  readonly access: number;
  /** Fault: its code. */
  readonly code: number;
}

/** Follows `page` down from the root; with `onlyAllowed`, no further than anything is allowed. */
export function naiveTranslate(table: RadixTable, page: number, onlyAllowed = false): NaiveStep {
  let level = table.levels;
  let at = table.root;
  let base = table.base;
  /** End of what the entry above stands for, which is more than the table where levels are skipped. */
  let limit = base + 512 ** level;
  let access = 3n;
  for (;;) {
    const span = 512 ** (level - 1);
    const index = Math.floor((page - base) / span);
    const iova = base + index * span;
    const end = (kind: 'hole' | 'fault', code = 0): NaiveStep => ({
      kind,
      iova,
      pages: span,
      target: 0,
      access: 0,
      code,
    });
    if (index > 511) {
      const covered = base + 512 * span;
      return { kind: 'hole', iova: covered, pages: limit - covered, target: 0, access: 0, code: 0 };
    }
    const entry = readEntry(table, at, index);
    if (entry === undefined) return end('fault', 0x100 + level);
    const bit = (n: bigint): bigint => (entry >> n) & 1n;
    if (bit(0n) === 0n) return end('hole');
    if (entry >> 52n !== 0n) return end('fault', 1);
    const address = Number((entry >> 12n) & ((1n << 40n) - 1n));
    access &= (entry >> 1n) & 3n;
    const isTable = level > 1 && bit(7n) === 0n;
    if (isTable) {
      const next = level - 1 - Number((entry >> 9n) & 3n);
      if (next < 1) return end('fault', 1);
      if (onlyAllowed && access === 0n) return end('hole');
      level = next;
      at = address;
      base = iova;
      limit = iova + span;
      continue;
    }
    if (bit(7n) === 1n && (level === 1 || level > 3)) return end('fault', 1);
    const pages = bit(8n) === 1n ? span * 16 : span;
    if (address % pages !== 0) return end('fault', 1);
    const first = Math.floor(page / pages) * pages;
    return { kind: 'leaf', iova: first, pages, target: address, access: Number(access), code: 0 };
  }
}

/** All leaves that allow something and overlap the range, and the codes of all faults in it, ascending. */
export function naiveWalk(
  table: RadixTable,
  start: number,
  end: number,
): { leaves: NaiveStep[]; faults: NaiveStep[] } {
  const leaves: NaiveStep[] = [];
  const faults: NaiveStep[] = [];
  for (let page = start; page < end; ) {
    const step = naiveTranslate(table, page, true);
    if (step.kind === 'leaf' && step.access !== 0) leaves.push(step);
    if (step.kind === 'fault') faults.push(step);
    page = step.iova + step.pages;
  }
  return { leaves, faults };
}

function readEntry(table: RadixTable, page: number, index: number): bigint | undefined {
  const cursor = new PageCursor();
  if (!table.memory.locate(page, cursor)) return undefined;
  const bytes = cursor.bytes();
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getBigUint64(index * 8, true);
}
