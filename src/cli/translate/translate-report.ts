/** One translated address as people and as programs read it. @module */
import { formatRequesterId } from '../../iommu/index.ts';
import { Access, formatAccess, formatAddress, formatPage, formatRange } from '../../memory/index.ts';
import { faultLine, type FaultWords } from '../models/fault-words.ts';
import type { Trace, TraceStep } from '../models/trace.ts';
import type { Translation } from '../models/translation.ts';
import type { CommandIo } from '../terminal/io.ts';
import type { Outcome, Request } from './outcome.ts';
import type { Source } from '../source/source.ts';
import { type Style, styleOf } from '../terminal/style.ts';
import { alignColumns, formatPages, formatPerm, jsonBytes, printable } from '../terminal/text.ts';

/** A request with all that is known about it. */
export interface Translated {
  readonly source: Source;
  readonly request: Request;
  readonly trace: Trace;
  readonly outcome: Outcome;
}

/** One object on one line. */
export function translationJson({ request, trace, outcome }: Translated): string {
  const { translation } = trace;
  const result = {
    requester: formatRequesterId(request.requester),
    ...(request.pasid === undefined ? {} : { pasid: request.pasid }),
    iova: formatAddress(request.iova),
    access: formatAccess(request.access),
    ...(translation === undefined ? {} : translationFields(translation)),
    steps: trace.steps.map(({ depth, what, table, index, entry, meaning }) => ({
      depth,
      what,
      ...(table === undefined ? {} : { table: formatPage(table) }),
      ...(index === undefined ? {} : { index }),
      entry,
      meaning,
    })),
    ...outcomeFields(outcome, trace),
  };
  return `${JSON.stringify(result)}\n`;
}

function translationFields(translation: Translation): Record<string, unknown> {
  if (translation.kind === 'fault') return {};
  const { domain } = translation;
  return {
    translation: translation.kind === 'mapped' ? translation.by : translation.kind,
    ...(domain === undefined ? {} : { domain }),
  };
}

function outcomeFields(outcome: Outcome, { leafPages }: Trace): Record<string, unknown> {
  switch (outcome.kind) {
    case 'interrupt':
      return { outcome: outcome.kind };
    case 'fault':
      return {
        outcome: outcome.kind,
        fault: faultFields(outcome.fault),
        ...(outcome.writeFault === undefined ? {} : { writeFault: faultFields(outcome.writeFault) }),
      };
    case 'translated':
    case 'pass-through':
    case 'untranslated':
      return {
        outcome: outcome.kind,
        gpa: formatAddress(outcome.gpa),
        perm: formatPerm(outcome.access),
        ...(leafPages === undefined ? {} : { size: Number(jsonBytes(leafPages)) }),
        ram: outcome.ram,
      };
  }
}

function faultFields({ code, condition, reason }: FaultWords): Record<string, unknown> {
  return { code, condition, reason };
}

/** A page for people. */
export function translationText(translated: Translated, io: CommandIo): string {
  const { source, request, trace } = translated;
  const style = styleOf(io);
  const lines = [style.heading(printable(source.title)), headline(request), ...stepLines(trace.steps, style)];
  return `${[...lines, ...outcomeLines(translated, style)].join('\n')}\n`;
}

function headline({ requester, pasid, iova, access }: Request): string {
  const verb = {
    [Access.Read]: 'reads',
    [Access.Write]: 'writes',
    [Access.None]: 'asks for',
    [Access.ReadWrite]: '',
  };
  const who = `${formatRequesterId(requester)}${pasid === undefined ? '' : ` with PASID ${pasid}`}`;
  return `${who} ${verb[access]} ${formatAddress(iova)}`;
}

/** Words of an entry on a line of their own. */
const WORDS_A_LINE = 4;

function stepLines(steps: readonly TraceStep[], style: Style): string[] {
  const rows = steps.map(({ depth, what, table, index, entry, meaning }) => [
    `${'  '.repeat(depth + 1)}${what}`,
    `${table === undefined ? '' : formatPage(table)}${index === undefined ? '' : `[${index}]`}`,
    entry[0] ?? '',
    meaning,
  ]);
  const shown = steps.some(({ table }) => table !== undefined)
    ? rows
    : rows.map(([what = '', , , meaning = '']) => [what, meaning]);
  // Word 0 says most; further words stand below it, so that a PASID-table entry does not push the columns apart.
  return alignColumns(shown).flatMap((line, i) => {
    const { entry, depth } = steps[i]!;
    const lines = [line];
    for (let word = 1; word < entry.length; word += WORDS_A_LINE) {
      const words = entry.slice(word, word + WORDS_A_LINE).join(' ');
      lines.push(style.aside(`${'  '.repeat(depth + 2)}bits ${word * 64} on: ${words}`));
    }
    return lines;
  });
}

function outcomeLines({ request, trace, outcome }: Translated, style: Style): string[] {
  const { iova, access } = request;
  switch (outcome.kind) {
    case 'interrupt':
      return [
        style.bad(
          `not translated: ${formatRange(outcome.range)} is the interrupt range, where a write is an interrupt request, ${outcome.rule}`,
        ),
      ];
    case 'fault': {
      const { fault, writeFault } = outcome;
      if (writeFault === undefined) return [style.bad(`fault: ${faultLine(fault)}`)];
      return [
        style.bad(`fault for a read: ${faultLine(fault)}`),
        style.bad(`fault for a write: ${faultLine(writeFault)}`),
      ];
    }
    case 'untranslated':
      return [style.good(`${formatAddress(iova)} as it is: ${outcome.why}${ramNote(outcome.ram)}`)];
    case 'pass-through':
      return [
        style.good(`${formatAddress(iova)} as it is: the requester passes through${ramNote(outcome.ram)}`),
      ];
    case 'translated': {
      const size = trace.leafPages === undefined ? '' : `${formatPages(trace.leafPages)} leaf, `;
      const permission =
        access === Access.None ? formatPerm(outcome.access) : `${formatPerm(outcome.access)} permitted`;
      return [
        style.good(
          `${formatAddress(iova)} -> ${formatAddress(outcome.gpa)}, ${size}${permission}${ramNote(outcome.ram)}`,
        ),
      ];
    }
  }
}

function ramNote(ram: boolean): string {
  return ram ? '' : '; no RAM is there';
}
