/** The benchmarks. @module */
import { formatCount, formatTable, formatTime, threeDigits } from './format.ts';
import type { Result, Suite } from './suite.ts';

const SIZES = [2 ** 10, 2 ** 14, 2 ** 17, 2 ** 20];

/** Every benchmark, in the order in which they run. */
export const SUITES: readonly Suite[] = [
  {
    name: 'scan',
    title: 'Scan of all leaves (VT-d second stage, 4 levels, 4 KiB), per leaf',
    unit: 'leaf',
    sizes: SIZES,
    sizeLabel: formatCount,
    image: (leaves) => ({ leaves }),
    entries: [
      { name: 'c', label: 'C floor', run: { floor: 'scan' } },
      { name: 'viommu', label: 'viommu walk', run: { worker: 'walk-scan' } },
      { name: 'loop', label: '2015 loop, mapped range only', run: { worker: 'loop-scan' } },
    ],
  },
  {
    name: 'one-mapping',
    title: 'Replay of one mapping in a space of 2^64 bytes',
    unit: 'replay',
    sizes: [4, 5],
    sizeLabel: (levels) => `${levels === 4 ? 48 : 57}-bit tables`,
    image: (levels) => ({ leaves: 1, levels: levels === 4 ? 4 : 5 }),
    entries: [
      { name: 'viommu', label: 'viommu', run: { worker: 'replay-one' }, yields: () => '1 mapping' },
      { name: 'loop', label: 'within the tables', run: { worker: 'slice-of-loop' }, yields: emptySlice },
      {
        name: 'loop-beyond',
        label: 'beyond them',
        run: { worker: 'slice-beyond-width' },
        yields: emptySlice,
      },
      {
        name: 'default',
        label: 'without tables',
        run: { worker: 'slice-of-default-walk' },
        yields: emptySlice,
      },
    ],
    render: renderOneMapping,
  },
  {
    name: 'reconcile',
    title: 'Reconcile after a global invalidation that changed nothing, per mapping',
    unit: 'mapping',
    sizes: SIZES,
    sizeLabel: formatCount,
    image: (leaves) => ({ leaves }),
    entries: [
      { name: 'c', label: 'C floor (the scan alone)', run: { floor: 'scan' } },
      { name: 'viommu', label: 'viommu', run: { worker: 'unchanged-reconcile' } },
    ],
  },
  {
    name: 'sync',
    title: 'Live sync, per changed page (entry written, page invalidated, event delivered)',
    unit: 'change',
    sizes: SIZES,
    sizeLabel: formatCount,
    image: (leaves) => ({ leaves }),
    entries: [
      {
        name: 'viommu',
        label: 'viommu',
        run: { worker: 'live-sync' },
        yields: () => 'each change told once',
      },
    ],
  },
  {
    name: 'translate',
    title: 'Translation of a page in no order, by pages mapped',
    unit: 'translation',
    sizes: [2 ** 9, 2 ** 14, 2 ** 20],
    sizeLabel: formatCount,
    image: (leaves) => ({ leaves }),
    entries: [
      { name: 'c', label: 'C floor, full walk', run: { floor: 'translate' } },
      { name: 'iotlb', label: 'viommu with IOTLB (1,024 entries)', run: { worker: 'translate-iotlb' } },
      { name: 'full', label: 'viommu without IOTLB', run: { worker: 'translate-full' } },
      { name: 'tables', label: 'viommu, the four tables alone', run: { worker: 'translate-tables' } },
    ],
  },
  {
    name: 'ledger',
    title: 'Ledger, per operation, by mappings held',
    unit: 'operation',
    sizes: SIZES,
    sizeLabel: formatCount,
    entries: [
      {
        name: 'insert-ascending',
        label: 'insert, ascending',
        run: { worker: 'ledger-insert-ascending' },
        yields: mappings,
      },
      {
        name: 'insert-random',
        label: 'insert, in no order',
        run: { worker: 'ledger-insert-random' },
        yields: mappings,
      },
      {
        name: 'find',
        label: 'find, in no order',
        run: { worker: 'ledger-find' },
        yields: () => '16384 found',
      },
      {
        name: 'remove',
        label: 'remove, in no order',
        run: { worker: 'ledger-remove' },
        yields: () => '0 left',
      },
      {
        name: 'read',
        label: 'for comparison: one read of as much memory, in no order',
        run: { worker: 'random-read' },
        yields: () => '16384 read',
      },
    ],
  },
  {
    name: 'ledger-bytes',
    title: 'Ledger, bytes a mapping (typed arrays / whole process)',
    unit: 'mapping',
    sizes: SIZES.slice(2),
    sizeLabel: formatCount,
    factsOnly: true,
    entries: [
      {
        name: 'ascending',
        label: 'filled ascending',
        run: { worker: 'ledger-bytes-ascending' },
        yields: mappings,
      },
      {
        name: 'random',
        label: 'filled in no order',
        run: { worker: 'ledger-bytes-random' },
        yields: mappings,
      },
    ],
    render: renderBytes,
  },
  {
    name: 'plug',
    title: 'Plug: every mapping replayed through the container into the host in memory, elapsed time',
    unit: 'mapping',
    sizes: SIZES,
    sizeLabel: formatCount,
    image: (leaves) => ({ leaves }),
    entries: [
      {
        name: 'plug',
        label: 'plug',
        run: { worker: 'plug' },
        yields: (size) => `${size} mappings held`,
      },
      { name: 'unplug', label: 'unplug', run: { worker: 'unplug' }, yields: () => '0 mappings left' },
    ],
    render: renderPlug,
  },
];

function mappings(size: number): string {
  return `${size} mappings`;
}

function emptySlice(): string {
  return '0 mappings in the slice';
}

/** Pages that 2^64 bytes are. */
const ALL = 2 ** 52;

/** Pages that tables of `levels` levels cover. */
function covered(levels: number): number {
  return 2 ** (9 * levels);
}

function bothWidths(label: string, cell: (levels: number) => string): string[] {
  return [label, cell(4), cell(5)];
}

function renderOneMapping(results: readonly Result[]): string[] {
  const time = (entry: string, levels: number): number => find(results, entry, levels).timing.cpu;
  const loop = (levels: number): number =>
    covered(levels) * time('loop', levels) + (ALL - covered(levels)) * time('loop-beyond', levels);
  const table = formatTable(
    ['', '48-bit tables', '57-bit tables'],
    [
      bothWidths('viommu: register and replay, unregister', (levels) => formatTime(time('viommu', levels))),
      bothWidths('viommu: table entries read', (levels) =>
        find(results, 'viommu', levels).timing.facts.entries.toLocaleString('en'),
      ),
      bothWidths('2015 loop over what the tables cover (*)', (levels) =>
        formatTime(covered(levels) * time('loop', levels)),
      ),
      bothWidths('2015 loop over 2^64 bytes (*)', (levels) => formatTime(loop(levels))),
      bothWidths('default walk of a region without tables over 2^64 bytes (*)', (levels) =>
        formatTime(ALL * time('default', levels)),
      ),
    ],
  );
  return [
    ...table,
    '',
    '(*) extrapolated from slices of 4,096 pages; viommu cuts such walks at 2^28 translations.',
  ];
}

function renderBytes(results: readonly Result[]): string[] {
  const sizes = [...new Set(results.map(({ size }) => size))];
  const row = (entry: string, label: string): string[] => [
    label,
    ...sizes.map((size) => {
      const { ledgerBytes, arrayBuffers, heap } = find(results, entry, size).timing.facts;
      return `${threeDigits(ledgerBytes)} / ${threeDigits(arrayBuffers + heap)}`;
    }),
  ];
  return formatTable(
    ['', ...sizes.map(formatCount)],
    [row('ascending', 'filled ascending'), row('random', 'filled in no order')],
  );
}

function renderPlug(results: readonly Result[]): string[] {
  const sizes = [...new Set(results.map(({ size }) => size))];
  const row = (entry: string): string[] => [
    entry,
    ...sizes.map((size) => {
      const { wall } = find(results, entry, size).timing;
      return `${formatTime(wall * size)} (${formatTime(wall)} each)`;
    }),
  ];
  return formatTable(['', ...sizes.map(formatCount)], [row('plug'), row('unplug')]);
}

function find(results: readonly Result[], entry: string, size: number): Result {
  const found = results.find((result) => result.entry === entry && result.size === size);
  if (found === undefined) throw new Error(`${entry} was not measured at ${size}`);
  return found;
}
