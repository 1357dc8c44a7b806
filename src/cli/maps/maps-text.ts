import { formatRequesterId, type RequesterId, type WalkReport } from '../../iommu/index.ts';
import { bytesOf, formatPage, formatRange } from '../../memory/index.ts';
import { faultLine } from '../models/fault-words.ts';
import type { OpenIommu } from '../models/open-iommu.ts';
import type { Translation } from '../models/translation.ts';
import { ExitCode } from '../terminal/exit-codes.ts';
import { cutText, requesterRange, tableFaultLines } from './fault-text.ts';
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
  const { unit } = source;
  await io.out(`${style.heading(printable(source.title))}\n${unitLine(unit)}\n`);
  if (unit.off !== undefined) return ExitCode.Ok;
  const budget = new SharedBudget(request.leaves);
  /** Who showed which tables first. */
  const shown = new Map<string, RequesterId>();
  let any = false;
  for (const finding of chosenRequesters(unit, only, pasid)) {
    any = true;
    if (finding.kind === 'blocked') {
      const who = requesterRange(finding.first, finding.last);
      await io.out(`\n${style.heading(who)}\n  ${style.bad(`blocked: ${faultLine(finding.fault)}`)}\n`);
      continue;
    }
    const { requester, translation } = finding;
    const header = `${style.heading(formatRequesterId(requester))}${describeFunction(source, requester)}`;
    const key = tablesKey(translation);
    const before = key === undefined ? undefined : shown.get(key);
    if (before !== undefined) {
      await io.out(`\n${header}\n  the same ${sharedBy(translation)} as ${formatRequesterId(before)}\n`);
      continue;
    }
    if (key !== undefined) shown.set(key, requester);
    await io.out(`\n${header}\n  ${translationLine(translation, style)}\n`);
    const walk = leafWalk(unit, requester, pasid, translation);
    if (walk === undefined) continue;
    const report = budget.report();
    await listRuns(io, request, walk, report, formatRequesterId(requester));
    budget.spend(report);
    for (const line of tableFaultLines(report, unit)) await io.out(`  ${style.bad(line)}\n`);
    if (report.cutAt !== undefined) {
      io.err(`viommu: ${formatRequesterId(requester)}: ${cutText(report, budget)}\n`);
      return ExitCode.Different;
    }
  }
  if (!any) await io.out(`\nno requester is translated: ${unit.nobody}\n`);
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

/** What the IOMMU does as a whole. */
function unitLine({ iommu, off, summary }: OpenIommu): string {
  const does =
    off === undefined ? summary : `translation off (${off}): every request reaches guest memory as it is`;
  return `${iommu.name}, ${does}`;
}

function sharedBy(translation: Translation): string {
  return translation.kind === 'mapped' ? translation.shared : '';
}

/** How a requester is translated, in one line. */
function translationLine(translation: Translation, style: Style): string {
  return translation.kind === 'fault'
    ? style.bad(`blocked: ${faultLine(translation.fault)}`)
    : translation.text;
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
