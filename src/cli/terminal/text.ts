/** Numbers and addresses as people read them. @module */
import { Access, bytesOf, formatAccess, PAGE_SIZE } from '../../memory/index.ts';

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;

/** Bytes in the largest unit that keeps them whole, or with one decimal place: `4 KiB`, `1.5 MiB`, `16 EiB`. */
export function formatBytes(bytes: bigint): string {
  let unit = 0;
  let scale = 1n;
  while (unit < UNITS.length - 1 && bytes >= scale * 1024n) {
    unit++;
    scale *= 1024n;
  }
  const tenths = (bytes * 10n) / scale;
  const whole = tenths / 10n;
  const rest = tenths % 10n;
  const digits = bytes % scale === 0n || rest === 0n ? formatCount(whole) : `${formatCount(whole)}.${rest}`;
  return `${digits} ${UNITS[unit] ?? ''}`;
}

/** Pages as {@link formatBytes} shows their bytes. */
export function formatPages(pages: number): string {
  return formatBytes(bytesOf(pages));
}

/** A count with commas between thousands: `25,797`. */
export function formatCount(count: number | bigint): string {
  return count.toString().replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `1 mapping`, `2 mappings`. */
export function plural(count: number, one: string, many: string = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Text from a file or a command line for a terminal, where control characters are instructions: they are escaped. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Both words of a 64-bit entry, all sixteen digits. */
export function formatEntry(lo: number, hi: number): string {
  return `0x${hexWord(hi)}${hexWord(lo)}`;
}

function hexWord(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}

/** The digits of a size in bytes: exact also where a number would be rounded. */
export function jsonBytes(pages: number): string {
  return Number.isSafeInteger(pages * PAGE_SIZE) ? String(pages * PAGE_SIZE) : bytesOf(pages).toString();
}

/** `r`, `w`, `rw`; walks never yield leaves that permit nothing. */
export function formatPerm(access: number): string {
  return formatAccess((access & Access.ReadWrite) as Access);
}

/** Lines of cells, each column as wide as its widest cell; the last one is left as it is. */
export function alignColumns(rows: readonly (readonly string[])[], gap = '  '): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.slice(0, -1).forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows.map((row) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join(gap),
  );
}

/** How many mappings there are of one size and permission. */
export interface SizeCount {
  readonly bytes: bigint;
  /** `r`, `w` or `rw`. */
  readonly perm: string;
  readonly count: number;
}

const PERM_ORDER = ['r', 'w', 'rw'];

/** One line a size, ascending: `4 KiB: 758 r, 431 w, 15,531 rw`. */
export function sizeLines(counts: readonly SizeCount[]): string[] {
  const bySize = new Map<bigint, SizeCount[]>();
  for (const count of counts) {
    const same = bySize.get(count.bytes);
    if (same === undefined) bySize.set(count.bytes, [count]);
    else same.push(count);
  }
  const sizes = [...bySize.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  return sizes.map(([bytes, same]) => {
    const sorted = [...same].sort((a, b) => PERM_ORDER.indexOf(a.perm) - PERM_ORDER.indexOf(b.perm));
    return `${formatBytes(bytes)}: ${sorted.map(({ count, perm }) => `${formatCount(count)} ${perm}`).join(', ')}`;
  });
}
