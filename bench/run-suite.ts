import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Contender } from './contender.ts';
import { contest, type Pace, ratioOf } from './contest.ts';
import type { Entry, Result, Suite } from './suite.ts';
import { buildImage } from './table-image.ts';
import type { Floor } from './toolchain.ts';

/** What every benchmark runs with. */
export interface Bench {
  /** A folder of its own for images. */
  readonly folder: string;
  readonly worker: string;
  readonly floor: Floor;
  readonly pace: Pace;
  /** Sizes above this are left out, unless a benchmark has no others. */
  readonly largest: number;
}

/** Runs one benchmark. Throws when a contender did not do the work that it was timed for. */
export async function runSuite(suite: Suite, bench: Bench): Promise<Result[]> {
  const results: Result[] = [];
  for (const size of suite.sizes.filter((size, i) => i === 0 || size <= bench.largest)) {
    results.push(...(await runSize(suite, size, bench)));
  }
  return results;
}

async function runSize(suite: Suite, size: number, bench: Bench): Promise<Result[]> {
  const image = suite.image === undefined ? undefined : join(bench.folder, `${suite.name}-${size}.image`);
  if (image !== undefined) writeFileSync(image, new Uint8Array(buildImage(suite.image!(size)).buffer));
  const entries: Entry[] = [];
  const contenders: Contender[] = [];
  try {
    for (const entry of suite.entries) {
      const command = commandOf(entry, size, image, bench);
      if (command === undefined) continue;
      entries.push(entry);
      contenders.push(new Contender(`${suite.name} ${entry.name} at ${size}`, command));
    }
    const pace = suite.factsOnly === true ? { ...bench.pace, warmUp: 0, rounds: 1 } : bench.pace;
    const timings = await contest(contenders, pace);
    const floor = timings[entries.findIndex(({ run }) => 'floor' in run)];
    return entries.map((entry, i) => {
      const timing = timings[i];
      const expected = entry.yields?.(size) ?? floor?.check;
      if (expected !== undefined && timing.check !== expected) {
        throw new Error(`${suite.name} ${entry.name} at ${size}: yielded ${timing.check}, not ${expected}`);
      }
      const result = { entry: entry.name, size, timing };
      return floor === undefined ? result : { ...result, ratio: ratioOf(timing, floor) };
    });
  } finally {
    for (const contender of contenders) contender.end();
  }
}

function commandOf(
  { run }: Entry,
  size: number,
  image: string | undefined,
  { worker, floor }: Bench,
): string[] | undefined {
  const images = image === undefined ? [] : [image];
  if ('worker' in run) return [process.execPath, '--expose-gc', worker, run.worker, String(size), ...images];
  return 'missing' in floor ? undefined : [floor.program, run.floor, ...images];
}
