import { formatRequesterId, type Mapping } from '../../iommu/index.ts';
import { faultLine } from '../models/fault-words.ts';
import { cutText, requesterRange, tableFaultLines } from './fault-text.ts';
import { ExitCode } from '../terminal/exit-codes.ts';
import type { CommandIo } from '../terminal/io.ts';
import { mappingChunks } from './mapping-chunks.ts';
import { chosenRequesters, leafWalk, type ListingRequest, SharedBudget, tablesKey } from './maps-listing.ts';
import { Progress } from '../terminal/progress.ts';
import { Remarks } from '../terminal/session.ts';
import { formatPerm, jsonBytes, plural } from '../terminal/text.ts';

/** One JSON object a leaf on standard output; everything else that there is to say on standard error. */
export async function listAsJson(io: CommandIo, request: ListingRequest): Promise<ExitCode> {
  const { source, requester: only, pasid } = request;
  const remarks = new Remarks(io);
  const { unit } = source;
  if (unit.off !== undefined) {
    remarks.add(`translation is off (${unit.off}): every request reaches guest memory as it is`);
    return ExitCode.Ok;
  }
  const progress = new Progress(io);
  const budget = new SharedBudget(request.leaves);
  let listed = 0;
  /** Which requester's table faults have been told, by tables. */
  const faulty = new Map<string, string>();
  for (const finding of chosenRequesters(unit, only, pasid)) {
    if (finding.kind === 'blocked') {
      remarks.add(`${requesterRange(finding.first, finding.last)}: ${faultLine(finding.fault)}`);
      continue;
    }
    const { requester, translation } = finding;
    const name = formatRequesterId(requester);
    if (translation.kind === 'fault') remarks.add(`${name}: ${faultLine(translation.fault)}`);
    if (translation.kind === 'pass-through') remarks.add(`${name}: passes through, without tables`);
    const walk = leafWalk(unit, requester, pasid, translation);
    if (walk === undefined) continue;
    const report = budget.report();
    const ending = only === undefined ? `,"requester":"${name}"}\n` : '}\n';
    for (const chunk of mappingChunks(walk, report)) {
      await io.out(chunk.map((leaf) => jsonLine(leaf, ending)).join(''));
      listed += chunk.length;
      if (!io.outIsTerminal) progress.update(() => `${name}: ${plural(listed, 'mapping')}`);
    }
    progress.clear();
    budget.spend(report);
    const faults = tableFaultLines(report, unit);
    if (faults.length > 0) {
      const key = tablesKey(translation);
      const before = key === undefined ? undefined : faulty.get(key);
      if (before !== undefined) remarks.add(`${name}: the same table faults as ${before}`);
      else remarks.add(`${name}: ${faults[0]}`, ...faults.slice(1));
      if (key !== undefined && before === undefined) faulty.set(key, name);
    }
    if (report.cutAt !== undefined) {
      remarks.end();
      io.err(`viommu: ${name}: ${cutText(report, budget)}\n`);
      return ExitCode.Different;
    }
  }
  remarks.end();
  return ExitCode.Ok;
}

function jsonLine({ iova, pages, target, access }: Mapping, ending: string): string {
  const where = `{"iova":"${hexPage(iova)}","size":${jsonBytes(pages)},"gpa":"${hexPage(target)}"`;
  return `${where},"perm":"${formatPerm(access)}"${ending}`;
}

/** As formatPage, without the bigint: there may be millions of lines. */
function hexPage(page: number): string {
  return page === 0 ? '0x0' : `0x${page.toString(16)}000`;
}
