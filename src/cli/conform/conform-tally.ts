import { type Scenario, type ScenarioModel, type Verdict } from '../../conform/index.ts';
import { plural } from '../terminal/text.ts';

/** IOMMUs as people call them. */
export const MODEL_NAMES: Readonly<Record<ScenarioModel, string>> = {
  vtd: 'VT-d',
  amdvi: 'AMD-Vi',
  'virtio-iommu': 'virtio-iommu',
};

/** Counts verdicts of scenarios that run on a QEMU, or on our own models. */
export class ConformTally {
  readonly #isQemu: boolean;
  readonly #seen: { readonly scenario: Scenario; readonly verdict: Verdict }[] = [];

  constructor(runs: 'qemu' | 'models') {
    this.#isQemu = runs === 'qemu';
  }

  count(scenario: Scenario, verdict: Verdict): void {
    this.#seen.push({ scenario, verdict });
  }

  /** Whether nothing differs and nothing is broken. */
  get clean(): boolean {
    return this.#seen.every(({ verdict: { kind } }) => kind === 'ok' || kind === 'not-supported');
  }

  /** Lines for people: by IOMMU where there are several, what is new against QEMU 11.1.3, and all together. */
  summary(): string {
    const models = [...new Set(this.#seen.map(({ scenario }) => scenario.model))];
    const lines = models.length < 2 ? [] : models.map((model) => this.#modelLine(model));
    if (this.#isQemu) lines.push(...this.#newsLines());
    return ['', ...lines, countsText(this.#seen.map(({ verdict }) => verdict)), ''].join('\n');
  }

  #modelLine(model: ScenarioModel): string {
    const verdicts = this.#seen.filter(({ scenario }) => scenario.model === model);
    return `${MODEL_NAMES[model].padEnd(14)}${countsText(verdicts.map(({ verdict }) => verdict))}`;
  }

  /** What another release than 11.1.3 does otherwise. */
  #newsLines(): string[] {
    const names = (wanted: (scenario: Scenario, verdict: Verdict) => boolean): string =>
      this.#seen
        .filter(({ scenario, verdict }) => wanted(scenario, verdict))
        .map(({ scenario }) => scenario.id)
        .join(', ');
    const mended = names(({ finding }, { kind }) => finding !== undefined && kind === 'ok');
    const worse = names((_scenario, verdict) => verdict.kind === 'differs' && !verdict.known);
    return [
      mended === '' ? '' : `ok, where QEMU 11.1.3 differs: ${mended}`,
      worse === '' ? '' : `differ otherwise than QEMU 11.1.3: ${worse}`,
    ].filter((line) => line !== '');
  }
}

function countsText(verdicts: readonly Verdict[]): string {
  const count = (kind: Verdict['kind']): number => verdicts.filter((verdict) => verdict.kind === kind).length;
  const known = verdicts.filter((verdict) => verdict.kind === 'differs' && verdict.known).length;
  const broken = count('broken');
  const unsupported = count('not-supported');
  return [
    `${plural(verdicts.length, 'scenario')}: ${count('ok')} ok, ${count('differs')} differ`,
    known === 0 ? '' : ` (${known} as QEMU 11.1.3 was seen to)`,
    broken === 0 ? '' : `, ${broken} could not be carried out`,
    unsupported === 0 ? '' : `, ${unsupported} not supported`,
  ].join('');
}
