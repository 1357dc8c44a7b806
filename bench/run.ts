/**
 * The benchmarks: every ratio is taken within one run, between processes that are measured in turns.
 *
 *     npm run bench                    all of them, a few minutes
 *     npm run bench -- --only scan     one of them; may be repeated
 *     npm run bench -- --quick         smallest sizes, hardly measured: does it run?
 *     npm run bench -- --json          one JSON object on standard output
 *
 * @module
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Pace } from './contest.ts';
import { judge } from './goals.ts';
import { describeMachine, formatMachine } from './machine.ts';
import { renderGoals, renderSuite } from './report.ts';
import { runSuite } from './run-suite.ts';
import type { Result } from './suite.ts';
import { SUITES } from './suites.ts';
import { compileFloor, compileWorker } from './toolchain.ts';

const FULL: Pace = { warmUp: 500, round: 30, rounds: 25, limit: 4000 };
const QUICK: Pace = { warmUp: 1, round: 1, rounds: 3, limit: 0 };

const values = readArguments();
const suites = SUITES.filter(({ name }) => values.only.length === 0 || values.only.includes(name));
const folder = mkdtempSync(join(tmpdir(), 'viommu-bench-'));
try {
  const worker = compileWorker(folder);
  const floor = compileFloor(folder);
  const machine = describeMachine('missing' in floor ? floor.missing : `${floor.compiler}, -O2`);
  const bench = {
    folder,
    worker,
    floor,
    pace: values.quick ? QUICK : FULL,
    largest: values.quick ? 1024 : Infinity,
  };
  if (!values.json) console.log(`${formatMachine(machine)}\n`);
  const results = new Map<string, readonly Result[]>();
  for (const suite of suites) {
    const measured = await runSuite(suite, bench);
    results.set(suite.name, measured);
    if (!values.json) console.log(renderSuite(suite, measured));
  }
  // Hardly measured figures say nothing about goals.
  const goals = values.quick ? [] : judge(results);
  if (values.json) {
    const benchmarks = suites.map(({ name, title, unit }) => ({
      name,
      title,
      unit,
      results: results.get(name),
    }));
    console.log(JSON.stringify({ machine, quick: values.quick, benchmarks, goals }));
  } else {
    console.log(renderGoals(goals));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
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
    const unknown = values.only.find((name) => !SUITES.some((suite) => suite.name === name));
    if (unknown === undefined) return values;
    console.error(`there is no benchmark ${unknown}; there are ${SUITES.map(({ name }) => name).join(', ')}`);
  } catch (error) {
    console.error(`${(error as Error).message}\noptions: --only NAME, --quick, --json`);
  }
  process.exit(2);
}
