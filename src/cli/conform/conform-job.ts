/** Runs the scenario table and reports on each scenario as it ends. @module */
import {
  judgeScenario,
  qemuStarter,
  type Scenario,
  type ScenarioModel,
  SCENARIOS,
  startModel,
  type StartDriver,
  type Verdict,
} from '../../conform/index.ts';
import { linuxPlatform } from '../../linux/index.ts';
import { probeQemu } from '../../qemu/index.ts';
import { ExitCode, UsageError } from '../terminal/exit-codes.ts';
import type { CommandIo } from '../terminal/io.ts';
import { Progress } from '../terminal/progress.ts';
import { verdictJson, verdictLines } from './conform-report.ts';
import { ConformTally } from './conform-tally.ts';

/** What the command line says. */
export interface ConformOptions {
  readonly vmm?: string;
  readonly model?: readonly ScenarioModel[];
  readonly only?: string;
  readonly list?: boolean;
  readonly steps?: boolean;
  readonly json?: boolean;
}

/** Runs what `options` choose. UsageError when nothing is chosen, or the QEMU cannot be run. */
export async function conform(io: CommandIo, options: ConformOptions): Promise<ExitCode> {
  const chosen = choose(options);
  if (options.list === true) {
    for (const scenario of chosen) await io.out(listed(scenario, options.json === true));
    return ExitCode.Ok;
  }
  const { start, name } = vmmOf(options);
  const tally = new ConformTally();
  const progress = new Progress(io);
  if (options.json !== true) await io.out(`${name}\n`);
  for (const [index, scenario] of chosen.entries()) {
    progress.update(() => `${index + 1} of ${chosen.length}: ${scenario.id}`);
    const verdict: Verdict = await judgeScenario(scenario, start);
    tally.count(verdict);
    progress.clear();
    await io.out(
      options.json === true
        ? verdictJson(scenario, verdict)
        : verdictLines(scenario, verdict, io, { steps: options.steps ?? false }),
    );
  }
  if (options.json !== true) await io.out(tally.summary());
  return tally.clean ? ExitCode.Ok : ExitCode.Different;
}

function choose({ model, only }: ConformOptions): readonly Scenario[] {
  const chosen = SCENARIOS.filter(
    (scenario) =>
      (model === undefined || model.includes(scenario.model)) &&
      (only === undefined || scenario.id.includes(only)),
  );
  if (chosen.length > 0) return chosen;
  throw new UsageError('no scenario is chosen', 'viommu conform --list has their names');
}

function listed({ id, model, title }: Scenario, json: boolean): string {
  return json ? `${JSON.stringify({ scenario: id, model, title })}\n` : `${id.padEnd(32)}${title}\n`;
}

function vmmOf({ vmm }: ConformOptions): { readonly start: StartDriver; readonly name: string } {
  if (vmm === undefined) return { start: startModel, name: "viommu's own models" };
  const { mode, why } = linuxPlatform();
  if (mode === 'messages') {
    throw new UsageError(
      `a QEMU shares its memory by descriptors, which cannot be passed here (${why ?? 'unknown reason'})`,
      'install the optional package koffi, on Linux',
    );
  }
  const build = probeQemu(vmm);
  if (typeof build === 'string') throw new UsageError(build, 'name an executable qemu-system-x86_64');
  if (!build.devices.has('vfio-user-pci')) {
    throw new UsageError(
      `QEMU ${build.version} at ${vmm} has no vfio-user-pci`,
      'use release 10.1 or later, with its modules installed',
    );
  }
  return { start: qemuStarter(build), name: `QEMU ${build.version} (${vmm})` };
}
