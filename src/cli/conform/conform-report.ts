/** Verdicts for people and for programs. @module */
import { type Difference, type Scenario, stepText, type Verdict } from '../../conform/index.ts';
import type { CommandIo } from '../terminal/io.ts';
import { styleOf } from '../terminal/style.ts';
import { printable } from '../terminal/text.ts';

const INDENT = ' '.repeat(10);
/** Lines of one ledger that are shown; the rest is counted. */
const LINES_SHOWN = 8;

/** How scenarios are reported in text. */
export interface ReportOptions {
  /** Lists all that a scenario does, if it differs. */
  readonly steps: boolean;
  /** A QEMU ran them: one that does as specified where QEMU 11.1.3 does not is told of. */
  readonly isQemu: boolean;
}

/** A scenario's report in text. */
export function verdictLines(
  scenario: Scenario,
  verdict: Verdict,
  io: CommandIo,
  options: ReportOptions,
): string {
  const { heading, good, bad, aside } = styleOf(io);
  const title = `${heading(scenario.id)}: ${scenario.title}`;
  switch (verdict.kind) {
    case 'ok':
      return `${good('ok')}        ${title}\n${options.isQemu ? mended(scenario) : ''}`;
    case 'not-supported':
      return `${aside('skipped')}   ${title}\n${INDENT}not supported: ${printable(verdict.why)}\n`;
    case 'broken':
      return `${bad('broken')}    ${title}\n${INDENT}${printable(verdict.why)}\n`;
    case 'differs': {
      const { finding } = scenario;
      const lines = options.steps ? stepLines(scenario) : [];
      lines.push(...verdict.differences.flatMap((difference) => differenceLines(scenario, difference)));
      if (finding !== undefined) {
        lines.push(`${finding.section}: ${finding.requires}`);
        const known = verdict.known ? 'QEMU 11.1.3 does the same' : 'QEMU 11.1.3 does something else';
        lines.push(aside(`${finding.id}: ${known}: ${finding.qemu}`));
      }
      return `${bad('differs')}   ${title}\n${lines.map((line) => `${INDENT}${line}\n`).join('')}`;
    }
  }
}

function mended({ finding }: Scenario): string {
  return finding === undefined ? '' : `${INDENT}${finding.id}: QEMU 11.1.3 differs here: ${finding.qemu}\n`;
}

function differenceLines(scenario: Scenario, { step, what, expected, seen }: Difference): string[] {
  const where = `step ${step + 1}, ${what}, ${before(scenario, step)}:`;
  return [where, ...listed('expected', expected), ...listed('seen', seen)];
}

/** What was done at a step, or, where it is a checkpoint, what led to it. */
function before({ steps }: Scenario, at: number): string {
  const did = steps.slice(0, at + 1).findLast((step) => step.do !== 'expect');
  if (did === undefined) return 'at the start';
  return steps[at]?.do === 'expect' ? `after ${stepText(did)}` : `of ${stepText(did)}`;
}

function stepLines({ steps }: Scenario): string[] {
  return steps.map((step, i) => `${String(i + 1).padStart(3)}  ${stepText(step)}`);
}

function listed(label: string, lines: readonly string[]): string[] {
  const shown = lines.length === 0 ? ['nothing'] : lines.slice(0, LINES_SHOWN).map(printable);
  if (lines.length > LINES_SHOWN) shown.push(`and ${lines.length - LINES_SHOWN} more`);
  return shown.map((line, i) => `  ${(i === 0 ? label : '').padEnd(10)}${line}`);
}

/** The same as one line of JSON. */
export function verdictJson(scenario: Scenario, verdict: Verdict): string {
  const { id, model, title, finding } = scenario;
  const about = { scenario: id, model, title, verdict: verdict.kind };
  const result =
    verdict.kind === 'differs'
      ? {
          known: verdict.known,
          differences: verdict.differences.map(({ step, ...rest }) => ({
            step: step + 1,
            when: before(scenario, step),
            ...rest,
          })),
        }
      : verdict.kind === 'ok'
        ? {}
        : { why: verdict.why };
  return `${JSON.stringify({ ...about, ...result, ...(finding === undefined ? {} : { finding }) })}\n`;
}
