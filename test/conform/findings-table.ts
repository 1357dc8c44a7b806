/** The table of findings in docs/conformance.md, as the scenarios say it. @module */
import { type Scenario, type ScenarioModel, SCENARIOS } from '../../src/conform/index.ts';

/** What one finding number is about; several rows may have the same number. */
export interface Row {
  readonly number: string;
  readonly iommu: string;
  readonly situation: string;
  readonly qemu: string;
  readonly asked: string;
  /** Markdown: names of scenarios, or of the test that shows it. */
  readonly shown: string;
}

const NAMES: Readonly<Record<ScenarioModel, string>> = {
  vtd: 'VT-d',
  amdvi: 'AMD-Vi',
  'virtio-iommu': 'virtio-iommu',
};
const SCALABLE = /^scalable mode: /;

/** A row for every situation with a number; scenarios that say the same share one. */
export function scenarioRows(): Row[] {
  const rows = new Map<string, Row>();
  for (const scenario of SCENARIOS) {
    const row = rowOf(scenario);
    if (row === undefined) continue;
    const key = JSON.stringify([row.number, row.iommu, row.situation, row.qemu, row.asked]);
    const before = rows.get(key);
    rows.set(key, before === undefined ? row : { ...before, shown: `${before.shown}, ${row.shown}` });
  }
  return [...rows.values()];
}

function rowOf({ id, model, title, finding, watched }: Scenario): Row | undefined {
  const about = {
    iommu: NAMES[model],
    situation: finding?.id === 'R19' ? title : title.replace(SCALABLE, ''),
    shown: `\`${id}\``,
  };
  if (finding !== undefined) {
    const { section, requires } = finding;
    return { ...about, number: finding.id, qemu: finding.qemu, asked: `${section}: ${requires}` };
  }
  return watched === undefined ? undefined : { ...about, number: watched, qemu: 'as it should.', asked: '' };
}

/** Rows as a table, ascending by number. */
export function markdownOf(rows: readonly Row[]): string {
  const sorted = rows.toSorted((a, b) => Number(a.number.slice(1)) - Number(b.number.slice(1)));
  return [
    '| # | IOMMU | situation | QEMU 11.1.3 | what is asked for | shown by |',
    '| --- | --- | --- | --- | --- | --- |',
    ...sorted.map(
      ({ number, iommu, situation, qemu, asked, shown }) =>
        `| ${[number, iommu, situation, qemu, asked, shown].join(' | ')} |`,
    ),
  ].join('\n');
}
