/** What a replay came to, as people and as programs read it. @module */
import { formatAddress } from '../../memory/index.ts';
import type { CommandIo } from '../terminal/io.ts';
import type { MappingDifference } from './mapping-differences.ts';
import type { ReplayOptions, ReplayResult } from './replay-result.ts';
import { type Style, styleOf } from '../terminal/style.ts';
import { alignColumns, formatBytes, formatCount, plural, printable, sizeLines } from '../terminal/text.ts';

/** One line for programs; these keys, in this order. */
export function replayJson(result: ReplayResult): string {
  const { capture, requester, replayed, matchesQemu, eventsPlayed, finalMappings, finalEqual, equal } =
    result;
  const line = { capture, requester, replayed, matchesQemu, eventsPlayed, finalMappings, finalEqual, equal };
  return `${JSON.stringify(line)}\n`;
}

/** A paragraph for people, with an empty line below it. */
export function replayText(
  result: ReplayResult,
  host: Pick<ReplayOptions, 'host' | 'hostPageSize' | 'server'>,
  io: CommandIo,
): string {
  const style = styleOf(io);
  const rows: [string, string][] = [['device', deviceText(result, host)]];
  if (result.refused !== undefined) {
    rows.push(['refused', style.bad(printable(result.refused))]);
  } else {
    rows.push(
      ['replay', replayLine(result, style)],
      ['events', eventsLine(result, style)],
      ...mappingRows(result),
      ['host', hostText(result)],
      ['times', timesText(result)],
    );
  }
  for (const note of result.notes) rows.push(['note', printable(note)]);
  const failed = result.refused === undefined ? 'different' : 'the plug was refused';
  const verdict = result.equal ? style.good('equal') : style.bad(failed);
  const lines = [
    `${style.heading(printable(result.capture))}: ${verdict}`,
    `  ${style.aside(printable(result.description))}`,
    ...alignColumns(rows).map((line) => `  ${line}`),
    ...differenceLines(result).map((line) => `  ${line}`),
  ];
  return `${lines.join('\n')}\n\n`;
}

/** The last line of a report for people. */
export function replaySummary(
  count: { readonly equal: number; readonly different: number; readonly unreadable: number },
  io: CommandIo,
): string {
  const { equal, different, unreadable } = count;
  const style = styleOf(io);
  const all = plural(equal + different + unreadable, 'capture');
  if (different + unreadable === 0) return `${style.good(`${all}: all equal`)}\n`;
  return `${style.bad(`${all}: ${equal} equal, ${different} different, ${unreadable} unreadable`)}\n`;
}

function deviceText(
  { requester }: ReplayResult,
  { host, hostPageSize, server }: Pick<ReplayOptions, 'host' | 'hostPageSize' | 'server'>,
): string {
  const onto = server === undefined ? `a host IOMMU like ${host}` : `the server at ${printable(server.path)}`;
  return `requester ${requester}, onto ${onto} with pages of ${formatBytes(BigInt(hostPageSize))}`;
}

function replayLine({ replayed, matchesQemu }: ReplayResult, style: Style): string {
  const said = plural(replayed, 'mapping');
  if (matchesQemu === null) return `${said} replayed; the capture holds no replay by QEMU to compare with`;
  return `${said} replayed, ${matchesQemu ? style.good('as QEMU did') : style.bad('not as QEMU did')}`;
}

function eventsLine(
  { eventsPlayed, playedUnit, mappedIn, finalMappings, finalEqual }: ReplayResult,
  style: Style,
): string {
  const end = `${plural(finalMappings, 'mapping')} at the end`;
  const equal = finalEqual
    ? style.good(`equal to the guest's ${mappedIn}`)
    : style.bad(`not equal to the guest's ${mappedIn}`);
  const played = eventsPlayed === 0 ? 'none in the capture' : `${plural(eventsPlayed, playedUnit)} played`;
  return `${played}; ${end}, ${equal}`;
}

/** A row a size; the label stands in the first. */
function mappingRows({ bySize }: ReplayResult): [string, string][] {
  const lines = sizeLines(
    bySize.map(({ size, access, count }) => ({ bytes: BigInt(size), perm: access, count })),
  );
  if (lines.length === 0) return [['mappings', 'none']];
  return lines.map((line, i) => [i === 0 ? 'mappings' : '', line]);
}

function hostText({ hostMessages }: ReplayResult): string {
  const { maps, unmaps, barriers } = hostMessages;
  return `${plural(maps, 'map')}, ${plural(unmaps, 'unmap')}, ${plural(barriers, 'barrier')}`;
}

function timesText({ times, eventsPlayed }: ReplayResult): string {
  const qemu = times.qemuReplayMs === null ? '' : ` (QEMU: ${milliseconds(times.qemuReplayMs)})`;
  const events = eventsPlayed === 0 ? '' : `, events ${milliseconds(times.eventsMs)}`;
  return `load ${milliseconds(times.loadMs)}, replay ${milliseconds(times.replayMs)}${qemu}${events}`;
}

function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : formatCount(Math.round(value))} ms`;
}

function differenceLines({ differences, differenceCount }: ReplayResult): string[] {
  if (differenceCount === 0) return [];
  const lines = [`${plural(differenceCount, 'difference')}:`];
  let where: MappingDifference['where'] | undefined;
  for (const difference of differences) {
    if (difference.where !== where) {
      ({ where } = difference);
      lines.push(`  ${where}`);
    }
    lines.push(`    ${differenceText(difference)}`);
  }
  const left = differenceCount - differences.length;
  if (left > 0) lines.push(`  ... and ${formatCount(left)} more`);
  return lines;
}

function differenceText({ what, iova, size, expected, actual }: MappingDifference): string {
  const place = `${what} ${formatAddress(iova)}-${formatAddress(iova + size - 1n)}`;
  const sides: string[] = [];
  if (expected !== undefined) sides.push(`expected ${expected}`);
  if (actual !== undefined) sides.push(`found ${actual}`);
  return sides.length === 0 ? place : `${place}: ${sides.join(', ')}`;
}
