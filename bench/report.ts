import { formatTable, formatTime, threeDigits } from './format.ts';
import type { Goal } from './goals.ts';
import type { Result, Suite } from './suite.ts';

/** The table of one benchmark, in Markdown. */
export function renderSuite(suite: Suite, results: readonly Result[]): string {
  return [`### ${suite.title}`, '', ...(suite.render ?? defaultTable(suite))(results), ''].join('\n');
}

/** The goals, in Markdown; nothing when none could be judged. */
export function renderGoals(goals: readonly Goal[]): string {
  if (goals.length === 0) return '';
  const rows = goals.map(({ goal, measured, met }) => [goal, measured, met ? 'met' : 'MISSED']);
  return ['### Goals', '', ...formatTable(['goal', 'measured', ''], rows), ''].join('\n');
}

function defaultTable(suite: Suite): (results: readonly Result[]) => string[] {
  return (results) => {
    const sizes = [...new Set(results.map(({ size }) => size))];
    const rows = suite.entries
      .filter(({ name }) => results.some(({ entry }) => entry === name))
      .map(({ name, label }) => [label, ...sizes.map((size) => cell(results, name, size))]);
    return formatTable([`per ${suite.unit}`, ...sizes.map(suite.sizeLabel)], rows);
  };
}

function cell(results: readonly Result[], entry: string, size: number): string {
  const { timing, ratio } = results.find((result) => result.entry === entry && result.size === size)!;
  const time = formatTime(timing.cpu);
  return ratio === undefined ? time : `${time} (${threeDigits(ratio)}x)`;
}
