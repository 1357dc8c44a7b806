/** Tables and goals, in Markdown. @module */
import { formatTable, formatTime, threeDigits } from '../format.ts';
import type { Goal } from '../goals.ts';
import type { Result, Source } from './measures.ts';
import { median } from './vmm.ts';

const SOURCES: Readonly<Record<Source, string>> = {
  qemu: 'QEMU',
  viommu: 'viommu',
  messages: 'viommu without descriptors',
  c: 'client in C',
};

/** How a source passes guest RAM to a server. */
function modeOf(source: Source, sink: string): string {
  if (source === 'messages') return 'none';
  return source === 'viommu' && sink === 'viommu' ? 'once' : 'each';
}

/** How many times as long `result` took as `reference`: the median of the rounds' ratios. */
export function ratio(result: readonly number[], reference: readonly number[]): number {
  return median(result.map((ns, i) => ns / reference[i]));
}

/** Time a mapping of each source into each server, next to QEMU's into the same. */
export function renderHotplug(results: readonly Result[]): string {
  const lines = ['### Hotplug onto existing mappings, per mapping', ''];
  const columns = columnsOf(results);
  const rows = (['qemu', 'viommu', 'messages', 'c'] as const)
    .filter((source) => results.some((result) => result.source === source))
    .flatMap((source) => {
      const cells = columns.map(({ sink, size }) => {
        const result = find(results, source, sink, size)!;
        return { result, qemu: find(results, 'qemu', sink, size) };
      });
      const timed = [
        SOURCES[source],
        descriptorsOf(source, columns),
        ...cells.map(({ result, qemu }) => withRatio(result.rounds, qemu?.rounds)),
      ];
      const atSink = [
        `${SOURCES[source]}, from first to last at the server`,
        descriptorsOf(source, columns),
        ...cells.map(({ result, qemu }) => withRatio(result.sinkRounds, qemu?.sinkRounds)),
      ];
      const cold = [
        `${SOURCES[source]}, first of its process`,
        descriptorsOf(source, columns),
        ...cells.map(({ result }) => formatTime(result.first)),
      ];
      return source === 'qemu' || source === 'viommu' ? [timed, atSink, cold] : [timed, atSink];
    });
  return [...lines, ...formatTable(['into', 'descriptors', ...columns.map(columnName)], rows), ''].join('\n');
}

/** Mappings a second without a guest. */
export function renderPipeline(results: readonly Result[]): string {
  const columns = columnsOf(results);
  const rows = (['viommu', 'messages', 'c'] as const)
    .filter((source) => results.some((result) => result.source === source))
    .map((source) => [
      SOURCES[source],
      descriptorsOf(source, columns),
      ...columns.map(({ sink, size }) => rate(find(results, source, sink, size)!.rounds)),
    ]);
  const title = '### Mappings a second without a guest';
  return [title, '', ...formatTable(['into', 'descriptors', ...columns.map(columnName)], rows), ''].join(
    '\n',
  );
}

/** Time from the guest's write to the server's confirmation. */
export function renderSync(results: readonly Result[]): string {
  const columns = columnsOf(results);
  const rows: string[][] = [];
  if (results.some(({ source }) => source === 'qemu')) {
    const cell = (pick: (result: Result) => readonly number[]): string[] =>
      columns.map(({ sink, size }) => formatTime(median(pick(find(results, 'qemu', sink, size)!))));
    rows.push(['QEMU, the way to it and back included', ...cell(({ rounds }) => rounds)]);
    rows.push(['QEMU, a register write that does nothing', ...cell(({ emptyRounds }) => emptyRounds)]);
    rows.push(['QEMU, the difference', ...cell(syncNs)]);
  }
  const ours = columns.map(({ sink, size }) => {
    const qemu = find(results, 'qemu', sink, size);
    return withRatio(
      find(results, 'viommu', sink, size)!.rounds,
      qemu === undefined ? undefined : syncNs(qemu),
    );
  });
  rows.push(['viommu', ...ours]);
  const title = '### Live sync, per page: mapped by the guest, invalidated, confirmed by the server';
  return [title, '', ...formatTable(['into', ...columns.map(columnName)], rows), ''].join('\n');
}

/** The goals that can be judged by what was measured. */
export function judge(results: readonly Result[]): Goal[] {
  const hotplug = results.filter(({ measure }) => measure === 'hotplug');
  const goals: Goal[] = [];
  const sizes = [...new Set(hotplug.map(({ size }) => size))];
  const rates = sizes.flatMap((size) => {
    const [ours, c] = ['viommu', 'C'].map((sink) => find(hotplug, 'qemu', sink, size));
    return ours === undefined || c === undefined ? [] : [{ size, slower: ratio(ours.rounds, c.rounds) }];
  });
  if (rates.length > 0) {
    goals.push({
      goal: 'QEMU is served as fast as by the server in C (at most 1.1 times its time)',
      measured: rates.map(({ size, slower }) => `${count(size)}: ${slower.toFixed(2)}x`).join(', '),
      met: rates.every(({ slower }) => slower <= 1.1),
    });
  }
  const largest = sizes.at(-1);
  if (largest === undefined) return goals;
  for (const [sink, server] of [
    ['viommu', 'our server'],
    ['C', 'the server in C, which wants a descriptor with each'],
  ] as const) {
    const [ours, qemu, c] = (['viommu', 'qemu', 'c'] as const).map((source) =>
      find(hotplug, source, sink, largest),
    );
    if (ours === undefined || qemu === undefined) continue;
    // What no client can go below that sends a descriptor with each mapping.
    const floor = c === undefined ? '' : `, the client in C ${ratio(c.rounds, qemu.rounds).toFixed(2)}x`;
    const share = ratio(ours.rounds, qemu.rounds);
    goals.push({
      goal: `hotplug onto ${count(largest)} mappings into ${server}: at most a quarter of QEMU's time, same ledger`,
      measured: `${share.toFixed(2)}x${floor}`,
      met: share <= 0.25,
    });
  }
  return goals;
}

/** With which of its mappings a source sends a descriptor, where servers differ one after the other. */
function descriptorsOf(source: Source, columns: readonly Column[]): string {
  const modes = new Set(columns.map(({ sink }) => `${sink}: ${modeOf(source, sink)}`));
  const values = new Set(columns.map(({ sink }) => modeOf(source, sink)));
  return values.size === 1 ? [...values].join('') : [...modes].join(', ');
}

/** QEMU's time without what it takes to ask it. */
function syncNs({ rounds, emptyRounds }: Result): number[] {
  return rounds.map((ns, i) => ns - emptyRounds[i]);
}

interface Column {
  readonly sink: string;
  readonly size: number;
}

function columnsOf(results: readonly Result[]): Column[] {
  const columns = new Map(results.map(({ sink, size }) => [`${size} ${sink}`, { sink, size }]));
  return [...columns.values()];
}

function columnName({ sink, size }: Column): string {
  return `server ${sink}, ${count(size)}`;
}

function find(results: readonly Result[], source: Source, sink: string, size: number): Result | undefined {
  return results.find((result) => result.source === source && result.sink === sink && result.size === size);
}

function withRatio(rounds: readonly number[], reference: readonly number[] | undefined): string {
  const time = formatTime(median(rounds));
  return reference === undefined ? time : `${time} (${threeDigits(ratio(rounds, reference))}x)`;
}

function rate(rounds: readonly number[]): string {
  return `${count(Math.round(1e6 / median(rounds)) * 1000)} (${formatTime(median(rounds))} each)`;
}

function count(value: number): string {
  return value.toLocaleString('en');
}
