/** DMA events and ledgers as lines of JSON. Sizes are written digit by digit: they may be larger than 2^53. @module */
import type { DmaEvent, PassedMessage } from '../../vfio-user/index.ts';
import { formatPerm } from '../terminal/text.ts';
import { jsonTime } from './clock.ts';
import type { LedgerSnapshot } from './ledger-snapshot.ts';

/** Keys that a line has before the event's own, as `"side":"vmm",`; empty for none. */
export type LeadingKeys = string;

/**
 * One event on one line. `offset` and `perm` are null for an unmap that is not of exactly one mapping; an unmap also
 * says how many it removed.
 *
 * @param milliseconds Unix time
 */
export function dmaLine(
  op: 'map' | 'unmap',
  { iova, size, offset, access, count, result }: DmaEvent,
  milliseconds: number,
  leading: LeadingKeys = '',
): string {
  const where = `"iova":"0x${iova.toString(16)}","size":${size.toString()}`;
  const from = offset === undefined ? 'null' : `"0x${offset.toString(16)}"`;
  const perm = access === undefined ? 'null' : `"${formatPerm(access)}"`;
  const removed = op === 'unmap' ? `,"removed":${count}` : '';
  return (
    `{"t":${jsonTime(milliseconds)},${leading}"op":"${op}",${where},"offset":${from},"perm":${perm},` +
    `"result":"${result}"${removed}}\n`
  );
}

/** A message that a proxy passed on, on one line. Not an event of DMA: its `op` is `pass`. */
export function passedLine(message: PassedMessage, milliseconds: number): string {
  const { from: side, command: name, kind, size, descriptors, result } = message;
  return `{"t":${jsonTime(milliseconds)},${JSON.stringify({ side, op: 'pass', message: name, kind, size, descriptors, result }).slice(1)}\n`;
}

/** Mappings that become one piece of text. */
const PIECE = 4096;

/** A whole ledger on one line, in pieces. */
export function* ledgerJson(snapshot: LedgerSnapshot): Generator<string> {
  let piece = '{"ledger":[';
  for (let i = 0; i < snapshot.length; i++) {
    const { iova, size, offset, access } = snapshot.at(i);
    piece +=
      `${i === 0 ? '' : ','}{"iova":"0x${iova.toString(16)}","size":${size.toString()},` +
      `"offset":"0x${offset.toString(16)}","perm":"${formatPerm(access)}"}`;
    if ((i + 1) % PIECE === 0) {
      yield piece;
      piece = '';
    }
  }
  yield `${piece}]}\n`;
}
