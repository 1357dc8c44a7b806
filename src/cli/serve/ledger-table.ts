import { formatBytes, formatCount, formatPerm, sizeLines } from '../terminal/text.ts';
import type { Style } from '../terminal/style.ts';
import type { LedgerSnapshot } from './ledger-snapshot.ts';

/** Rows that become one piece of text. */
const PIECE = 1024;
/** A peer can map as many sizes as it likes. */
const SIZES_SHOWN = 16;

/** A whole ledger for people, a mapping a row, then how many there are of each size; in pieces. */
export function* ledgerTable(snapshot: LedgerSnapshot, style: Style): Generator<string> {
  if (snapshot.length === 0) {
    yield 'nothing is mapped\n';
    return;
  }
  const last = snapshot.at(snapshot.length - 1);
  const digits = (last.iova + last.size - 1n).toString(16).length;
  const address = (value: bigint): string => `0x${value.toString(16).padStart(digits, '0')}`;
  const counts = new Map<string, { bytes: bigint; perm: string; count: number }>();
  let total = 0n;
  let piece = `${style.heading(`${formatCount(snapshot.length)} mapped`)}\n`;
  for (let i = 0; i < snapshot.length; i++) {
    const { iova, size, offset, access } = snapshot.at(i);
    const perm = formatPerm(access);
    piece +=
      `  ${address(iova)}-${address(iova + size - 1n)}  ${perm.padEnd(2)}  ${formatBytes(size).padStart(9)}  ` +
      `offset 0x${offset.toString(16)}\n`;
    total += size;
    const key = `${size} ${perm}`;
    const entry = counts.get(key);
    if (entry === undefined) counts.set(key, { bytes: size, perm, count: 1 });
    else entry.count++;
    if ((i + 1) % PIECE === 0) {
      yield piece;
      piece = '';
    }
  }
  const sizes = sizeLines([...counts.values()]);
  yield `${piece}  ${formatBytes(total)} in all\n`;
  yield sizes
    .slice(0, SIZES_SHOWN)
    .map((line) => `  ${line}\n`)
    .join('');
  if (sizes.length > SIZES_SHOWN) yield `  and of ${formatCount(sizes.length - SIZES_SHOWN)} further sizes\n`;
}
