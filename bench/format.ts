/** Figures and tables for people. @module */

/** `1k`, `16k`, `1M`. */
export function formatCount(count: number): string {
  if (count >= 2 ** 20 && count % 2 ** 20 === 0) return `${count / 2 ** 20}M`;
  if (count >= 1024 && count % 1024 === 0) return `${count / 1024}k`;
  return String(count);
}

/** Nanoseconds in a unit that people read, in three digits. */
export function formatTime(ns: number): string {
  const units = [
    ['ns', 1],
    ['µs', 1e3],
    ['ms', 1e6],
    ['s', 1e9],
    ['hours', 3600e9],
    ['days', 24 * 3600e9],
    ['years', 365.25 * 24 * 3600e9],
  ] as const;
  const [name, size] = units.findLast(([, size]) => ns >= size) ?? units[0];
  return `${threeDigits(ns / size)} ${name}`;
}

/** A number in three digits, or whole when it has more. */
export function threeDigits(value: number): string {
  if (value >= 100 || value === 0) return Math.round(value).toLocaleString('en');
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** A Markdown table with aligned columns; the first is text, the others are figures. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((_, i) => Math.max(3, ...[head, ...rows].map((row) => row[i].length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)];
}
