/**
 * The benchmarks of vfio-user next to QEMU and to a server and a client in C; every ratio is taken within one run,
 * between variants that are measured in turns.
 *
 *     npm run bench:vfio-user                       all of them, about two minutes
 *     npm run bench:vfio-user -- --only hotplug     one of them; may be repeated
 *     npm run bench:vfio-user -- --quick            smallest sizes, hardly measured: does it run?
 *     npm run bench:vfio-user -- --json             one JSON object on standard output
 *
 * QEMU is looked for by VIOMMU_QEMU and in PATH; without it, as without a `cc`, what needs it is left out.
 *
 * @module
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine, formatMachine } from '../machine.ts';
import { renderGoals } from '../report.ts';
import {
  type Contenders,
  type Effort,
  measureHotplug,
  measurePipeline,
  measureSync,
  type Result,
} from './measures.ts';
import { Peer } from './peer.ts';
import { judge, renderHotplug, renderPipeline, renderSync } from './report.ts';
import { Sink } from './sink.ts';
import { compileC, compileProcesses, type CPrograms } from './toolchain.ts';

const FULL: Effort = { sizes: [4096, 60_000], syncs: 300, warmUps: 2, rounds: 9 };
const QUICK: Effort = { sizes: [64], syncs: 8, warmUps: 0, rounds: 2 };

const MEASURES = [
  { name: 'hotplug', measure: measureHotplug, render: renderHotplug },
  { name: 'pipeline', measure: measurePipeline, render: renderPipeline },
  { name: 'sync', measure: measureSync, render: renderSync },
] as const;

const values = readArguments();
const folder = mkdtempSync(join(tmpdir(), 'viommu-bench-'));
const ending: { end(): Promise<void> }[] = [];
try {
  const programs = compileC(folder);
  const processes = compileProcesses(folder);
  const { qemu, version } = await startQemu();
  const contenders: Contenders = {
    sinks: await startSinks(programs, processes),
    viommu: ended(new Peer('viommu', [process.execPath, join(processes, 'viommu-vmm.js')])),
    qemu,
    client: 'missing' in programs ? undefined : programs.client,
  };
  const machine = describeMachine('missing' in programs ? programs.missing : `${programs.compiler}, -O2`);
  if (!values.json) console.log(`${formatMachine(machine)}; QEMU: ${version}\n`);
  const results: Result[] = [];
  for (const { name, measure, render } of MEASURES) {
    if (values.only.length > 0 && !values.only.includes(name)) continue;
    const measured = await measure(contenders, values.quick ? QUICK : FULL);
    results.push(...measured);
    if (!values.json) console.log(render(measured));
  }
  // Hardly measured figures say nothing about goals.
  const goals = values.quick ? [] : judge(results);
  if (values.json)
    console.log(JSON.stringify({ machine, qemu: version, quick: values.quick, results, goals }));
  else console.log(renderGoals(goals));
} finally {
  await Promise.all(ending.map((process) => process.end()));
  rmSync(folder, { recursive: true, force: true });
}

/** Has a process ended when the program is. */
function ended<T extends { end(): Promise<void> }>(process: T): T {
  ending.push(process);
  return process;
}

async function startSinks(programs: CPrograms, processes: string): Promise<Sink[]> {
  const ours = await Sink.start(
    'viommu',
    [process.execPath, join(processes, 'viommu-sink.js')],
    join(folder, 'viommu.sock'),
  );
  ended(ours);
  if ('missing' in programs) return [ours];
  return [ended(await Sink.start('C', [programs.server], join(folder, 'c.sock'))), ours];
}

/** QEMU with a guest; `version` says why there is none. */
async function startQemu(): Promise<{ readonly qemu: Peer | undefined; readonly version: string }> {
  const script = join(dirname(fileURLToPath(import.meta.url)), 'qemu-vmm.ts');
  const qemu = ended(new Peer('QEMU', [process.execPath, '--import', 'tsx', script]));
  const first = await qemu.line<{ readonly qemu?: string; readonly missing?: string }>();
  return first.qemu === undefined
    ? { qemu: undefined, version: `left out, ${first.missing}` }
    : { qemu, version: first.qemu };
}

/** What the command line asks for; ends the program when it asks for something that there is not. */
function readArguments(): { json: boolean; quick: boolean; only: string[] } {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true, default: [] },
      },
    });
    const unknown = values.only.find((name) => !MEASURES.some((measure) => measure.name === name));
    if (unknown === undefined) return values;
    console.error(
      `there is no benchmark ${unknown}; there are ${MEASURES.map(({ name }) => name).join(', ')}`,
    );
  } catch (error) {
    console.error(`${(error as Error).message}\noptions: --only NAME, --quick, --json`);
  }
  process.exit(2);
}
