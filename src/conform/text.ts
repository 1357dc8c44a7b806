/** The text in which scenarios write addresses, sizes and mappings. @module */
import type { Mapping } from '../iommu/index.ts';
import { Access, formatAccess, formatAddress } from '../memory/index.ts';
import type { AccessText } from './scenario.ts';

const UNITS: readonly (readonly [letter: string, bytes: bigint])[] = [
  ['T', 1n << 40n],
  ['G', 1n << 30n],
  ['M', 1n << 20n],
  ['K', 1n << 10n],
];

/** Bytes of `0x...`. RangeError for anything else. */
export function addressOfText(text: string): bigint {
  if (!/^0x[0-9a-f]{1,17}$/i.test(text)) throw new RangeError(`${text} is no hexadecimal byte address`);
  return BigInt(text);
}

/** Bytes of `4K`, `2M`, `1G`, `1T` or `0x...`. RangeError for anything else. */
export function bytesOfText(text: string): bigint {
  const match = /^(\d+)([KMGT])$/.exec(text);
  if (match === null) return addressOfText(text);
  const unit = UNITS.find(([letter]) => letter === match[2]);
  return BigInt(match[1] ?? '') * (unit?.[1] ?? 1n);
}

/** Pages of an address or a size. RangeError when it is none of whole pages. */
export function pagesOfText(text: string): number {
  const bytes = bytesOfText(text);
  if ((bytes & 0xfffn) !== 0n) throw new RangeError(`${text} is not made of whole pages`);
  return Number(bytes >> 12n);
}

/** `4K`, `2M`, ... where the bytes are a whole number of units, or else hexadecimal. */
export function sizeText(bytes: bigint): string {
  for (const [letter, unit] of UNITS) {
    if (bytes >= unit && bytes % unit === 0n) return `${bytes / unit}${letter}`;
  }
  return formatAddress(bytes);
}

/** The same of pages. */
export function pagesText(pages: number): string {
  return sizeText(BigInt(pages) << 12n);
}

/** A page's byte address. */
export function pageText(page: number): string {
  return formatAddress(BigInt(page) << 12n);
}

/** A line of a ledger, `IOVA SIZE -> GPA ACCESS`; page numbers. */
export function ledgerLine(iova: number, pages: number, target: number, access: Access): string {
  return `${pageText(iova)} ${pagesText(pages)} -> ${pageText(target)} ${formatAccess(access)}`;
}

/** A line of a ledger in pages. RangeError when it is none. */
export function parseLedgerLine(line: string): Mapping {
  const match = /^(\S+) (\S+) -> (\S+) (r|w|rw)$/.exec(line);
  if (match === null) throw new RangeError(`'${line}' is no line of a ledger`);
  const [, iova = '', size = '', target = '', access = ''] = match;
  return {
    iova: pagesOfText(iova),
    pages: pagesOfText(size),
    target: pagesOfText(target),
    access: accessOfText(access as AccessText),
  };
}

/** {@link Access} of its text. */
export function accessOfText(text: AccessText): Access {
  return text === 'r' ? Access.Read : text === 'w' ? Access.Write : Access.ReadWrite;
}
