import { formatRequesterId, type RequesterId, type WalkReport } from '../../iommu/index.ts';
import { bytesOf, formatPage, formatRange } from '../../memory/index.ts';
import { type RemappingState, type RequestTranslation, spec } from '../../models/vtd/index.ts';
import { ExitCode } from '../terminal/exit-codes.ts';
import { cutText, faultText, requesterRange, tableFaultLines } from './fault-text.ts';
import type { CommandIo } from '../terminal/io.ts';
import { mappingChunks } from './mapping-chunks.ts';
import { chosenRequesters, leafWalk, type ListingRequest, SharedBudget, tablesKey } from './maps-listing.ts';
import { Progress } from '../terminal/progress.ts';
import { type MappingRun, RunCollector } from './runs.ts';
import type { Source } from '../source/source.ts';
import { type Style, styleOf } from '../terminal/style.ts';
import {
  alignColumns,
  formatBytes,
  formatCount,
  formatPages,
  formatPerm,
  plural,
  printable,
  sizeLines,
} from '../terminal/text.ts';

/** Runs of a requester that are shown before the rest is only counted. */
const RUNS_SHOWN = 20;

/** A page for people: requesters, runs of mappings, counts, faults. */
export async function listAsText(io: CommandIo, request: ListingRequest): Promise<ExitCode> {
  const { source, requester: only, pasid } = request;
  const style = styleOf(io);
  const state = source.iommu;
  await io.out(`${style.heading(printable(source.title))}\n${unitLine(state)}\n`);
  if (!state.translationEnabled) return ExitCode.Ok;
  const budget = new SharedBudget(request.leaves);
  /** Who showed which tables first. */
  const shown = new Map<string, RequesterId>();
  let any = false;
  for (const finding of chosenRequesters(state, only, pasid)) {
    any = true;
    if (finding.kind === 'blocked') {
      const who = requesterRange(finding.first, finding.last);
      await io.out(`\n${style.heading(who)}\n  ${style.bad(`blocked: ${faultText(finding.code)}`)}\n`);
      continue;
    }
    const { requester, translation } = finding;
    const header = `${style.heading(formatRequesterId(requester))}${describeFunction(source, requester)}`;
    const key = tablesKey(translation);
    const before = key === undefined ? undefined : shown.get(key);
    if (before !== undefined) {
      await io.out(`\n${header}\n  the same tables as ${formatRequesterId(before)}\n`);
      continue;
    }
    if (key !== undefined) shown.set(key, requester);
    await io.out(`\n${header}\n  ${translationLine(translation, style)}\n`);
    const walk = leafWalk(state, requester, pasid, translation);
    if (walk === undefined) continue;
    const report = budget.report();
    await listRuns(io, request, walk, report, formatRequesterId(requester));
    budget.spend(report);
    for (const line of tableFaultLines(report)) await io.out(`  ${style.bad(line)}\n`);
    if (report.cutAt !== undefined) {
      io.err(`viommu: ${formatRequesterId(requester)}: ${cutText(report, budget)}\n`);
      return ExitCode.Different;
    }
  }
  if (!any) await io.out('\nno requester is translated: no context entry is present\n');
  return ExitCode.Ok;
}

async function listRuns(
  io: CommandIo,
  request: ListingRequest,
  walk: NonNullable<ReturnType<typeof leafWalk>>,
  report: WalkReport,
  name: string,
): Promise<void> {
  const style = styleOf(io);
  const progress = new Progress(io);
  const collector = new RunCollector(request.all ? Infinity : RUNS_SHOWN);
  const showKept = async (): Promise<void> => {
    const runs = collector.kept.splice(0);
    if (runs.length > 0) await io.out(`${runLines(runs).join('\n')}\n`);
  };
  for (const chunk of mappingChunks(walk, report)) {
    for (const leaf of chunk) collector.push(leaf);
    if (request.all) await showKept();
    if (!io.outIsTerminal || !request.all) {
      progress.update(() => `${name}: ${plural(collector.leaves, 'mapping')}`);
    }
  }
  collector.finish();
  progress.clear();
  await showKept();
  const hidden = request.all ? 0 : collector.runs - RUNS_SHOWN;
  if (hidden > 0) {
    await io.out(`  ${style.aside(`... and ${plural(hidden, 'run')} more: --all shows them`)}\n`);
  }
  await io.out(`  ${summaryLine(collector)}\n`);
}

function runLines(runs: readonly MappingRun[]): string[] {
  const rows = runs.map(({ iova, pages, target, access, leaves }) => [
    `  ${formatRange({ start: iova, end: iova + pages })}`,
    `-> ${formatPage(target)}`,
    formatPerm(access),
    formatPages(pages) + (leaves === 1 ? '' : ` in ${formatCount(leaves)} leaves`),
  ]);
  return alignColumns(rows);
}

function summaryLine(collector: RunCollector): string {
  const { leaves, runs, pages } = collector;
  if (leaves === 0) return 'nothing is mapped';
  const sizes = sizeLines(
    collector.counts().map(({ pages, access, count }) => ({
      bytes: bytesOf(pages),
      perm: formatPerm(access),
      count,
    })),
  );
  const total = formatBytes(bytesOf(pages));
  return `${plural(leaves, 'mapping')} in ${plural(runs, 'run')}, ${total}; ${sizes.join('; ')}`;
}

/** What the unit does as a whole. */
function unitLine(state: RemappingState): string {
  if (!state.translationEnabled) {
    return 'VT-d, translation off (GSTS_REG.TES is 0): every request reaches guest memory as it is';
  }
  const modes: Readonly<Record<number, string>> = {
    [spec.TTM_LEGACY]: 'legacy mode',
    [spec.TTM_SCALABLE]: 'scalable mode',
    [spec.TTM_ABORT_DMA]: 'abort-DMA mode',
  };
  const mode = modes[state.translationTableMode] ?? `reserved mode (TTM ${state.translationTableMode})`;
  return `VT-d, ${mode}, root table at ${formatPage(state.rootTable)}`;
}

/** How a requester is translated, in one line. */
function translationLine(translation: RequestTranslation, style: Style): string {
  switch (translation.kind) {
    case 'fault':
      return style.bad(`blocked: ${faultText(translation.code)}`);
    case 'pass-through':
      return `pass-through: every address to itself, without tables; domain ${translation.domain}`;
    case 'second-stage': {
      const { root, levels } = translation.secondStage;
      return `second stage: ${levels} levels at ${formatPage(root)}, domain ${translation.domain}`;
    }
    case 'first-stage':
    case 'nested': {
      const { firstStage: first, secondStage: second } = translation;
      const tables = `${first.levels} levels at ${formatPage(first.root)}`;
      return second === undefined
        ? `first stage: ${tables}, domain ${translation.domain}`
        : `nested: first stage of ${tables}, second stage of ${second.levels} levels at ${formatPage(second.root)}, ` +
            `domain ${translation.domain}`;
    }
  }
}

/** What the capture knows about who uses this requester ID. */
function describeFunction({ capture }: Source, requester: RequesterId): string {
  const name = formatRequesterId(requester);
  const found = capture?.pci.find(({ bdf }) => bdf === name);
  const parts: string[] = [];
  if (found !== undefined) {
    const driver = found.driver === null ? 'no driver' : `driver ${printable(found.driver)}`;
    parts.push(`${pciId(found.vendor)}:${pciId(found.device)}, ${driver}`);
  }
  if (capture?.plugRequester === name) parts.push('where the device was plugged in');
  return parts.length === 0 ? '' : `  (${parts.join('; ')})`;
}

function pciId(value: number): string {
  return value.toString(16).padStart(4, '0');
}
