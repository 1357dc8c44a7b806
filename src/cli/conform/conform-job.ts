/** Runs the scenario table and reports on each scenario as it ends. @module */
import { judgeScenario, type Scenario } from '../../conform/index.ts';
import { ExitCode } from '../terminal/exit-codes.ts';
import type { CommandIo } from '../terminal/io.ts';
import { Progress } from '../terminal/progress.ts';
import { type Choice, choose, findingOf } from './choose.ts';
import { verdictJson, verdictLines } from './conform-report.ts';
import { ConformTally } from './conform-tally.ts';
import { OWN_MODELS, qemuAt } from './conform-vmm.ts';

/** What the command line says. */
export interface ConformOptions extends Choice {
  readonly vmm?: string;
  readonly list?: boolean;
  readonly steps?: boolean;
  readonly json?: boolean;
}

/** Runs what `options` choose. UsageError when nothing is chosen, or the QEMU cannot be run. */
export async function conform(io: CommandIo, options: ConformOptions): Promise<ExitCode> {
  const { json = false, steps = false } = options;
  const chosen = choose(options);
  if (options.list === true) {
    for (const scenario of chosen) await io.out(listed(scenario, json));
    return ExitCode.Ok;
  }
  const vmm = options.vmm === undefined ? OWN_MODELS : await qemuAt(options.vmm, chosen);
  const tally = new ConformTally(vmm.runs);
  const progress = new Progress(io);
  if (!json) await io.out(`${vmm.name}\n${vmm.setup}\n\n`);
  for (const [index, scenario] of chosen.entries()) {
    progress.update(() => `${index + 1} of ${chosen.length}: ${scenario.id}`);
    const verdict = await judgeScenario(scenario, vmm.start);
    tally.count(scenario, verdict);
    progress.clear();
    await io.out(
      json
        ? verdictJson(scenario, verdict)
        : verdictLines(scenario, verdict, io, { steps, isQemu: vmm.runs === 'qemu' }),
    );
  }
  if (!json) await io.out(tally.summary());
  return tally.clean ? ExitCode.Ok : ExitCode.Different;
}

function listed(scenario: Scenario, json: boolean): string {
  const { id, model, title } = scenario;
  const number = findingOf(scenario);
  if (json) {
    return `${JSON.stringify({ scenario: id, model, title, ...(number === undefined ? {} : { number }) })}\n`;
  }
  return `${id.padEnd(34)}${(number ?? '').padEnd(5)}${title}\n`;
}
