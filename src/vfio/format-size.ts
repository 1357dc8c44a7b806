import { bytesOf } from '../memory/index.ts';

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** The size of `pages` pages in the largest unit that leaves it whole, such as `64 KiB`. */
export function formatSize(pages: number): string {
  let size = bytesOf(pages);
  let unit = 0;
  while (unit < UNITS.length - 1 && size !== 0n && (size & 1023n) === 0n) {
    size >>= 10n;
    unit++;
  }
  return `${size} ${UNITS[unit]}`;
}
