/** Numbers and addresses as people read them. @module */
import { Access, bytesOf, formatAccess, formatAddress, formatPage } from '../memory/index.ts';

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

/** Both words of a 64-bit entry, all sixteen digits. */
export function formatEntry(lo: number, hi: number): string {
  const word = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
  return `0x${word(hi)}${word(lo)}`;
}

/** A size for JSON, in bytes: a number as long as it is exact, else digits that JSON.parse would round. */
export function jsonBytes(pages: number): string {
  return bytesOf(pages).toString();
}

/** An address with the low twelve bits that pages do not have. */
export function formatAt(page: number, offset: number): string {
  return offset === 0 ? formatPage(page) : formatAddress(bytesOf(page) + BigInt(offset));
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
