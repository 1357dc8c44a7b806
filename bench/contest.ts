/** Contenders measured side by side: warmed up, then one round after the other, so that they share what the machine does meanwhile. @module */
import type { Contender } from './contender.ts';
import type { Measurement } from './variant.ts';

/** How long measuring takes. */
export interface Pace {
  /** Milliseconds of processor time for which a contender runs before it counts. */
  readonly warmUp: number;
  /** Milliseconds that one measurement should take. */
  readonly round: number;
  readonly rounds: number;
  /** Milliseconds after which a slow contender takes part in no further round; three it takes part in at least. */
  readonly limit: number;
}

/** What came of one contender; times in nanoseconds a unit. */
export interface Timing {
  /** Median of the processor time, garbage collection and compiler included. */
  readonly cpu: number;
  /** The least processor time: what it costs when nobody disturbs. */
  readonly cpuLeast: number;
  /** Median of the elapsed time. */
  readonly wall: number;
  /** Processor time of each round. */
  readonly rounds: readonly number[];
  readonly check: string;
  readonly facts: Readonly<Record<string, number>>;
}

/** A contender and what is known of it so far. */
interface Entrant {
  readonly contender: Contender;
  times: number;
  spent: number;
  readonly measured: Measurement[];
}

/** Measures all of `contenders`; the timings are in the same order. */
export async function contest(contenders: readonly Contender[], pace: Pace): Promise<Timing[]> {
  const entrants: Entrant[] = [];
  for (const contender of contenders) {
    entrants.push({ contender, times: await warmUp(contender, pace), spent: 0, measured: [] });
  }
  for (let round = 0; round < pace.rounds; round++) {
    for (const entrant of entrants) {
      if (round >= 3 && entrant.spent > pace.limit) continue;
      const measurement = await entrant.contender.measure(entrant.times);
      entrant.measured.push(measurement);
      entrant.spent += measurement.wall / 1e6;
    }
  }
  return entrants.map(({ measured }) => timingOf(measured));
}

/** Runs until it is warm; how many times over fill a round. */
async function warmUp(contender: Contender, pace: Pace): Promise<number> {
  const end = performance.now() + pace.warmUp * 10;
  let spent = 0;
  for (let times = 1; ; ) {
    const { wall, cpu } = await contender.measure(times);
    // Elapsed time warms nobody on a machine whose processors are taken.
    spent += cpu / 1e6;
    const filling = Math.max(1, Math.round((pace.round * 1e6 * times) / Math.max(1, wall)));
    if (spent >= pace.warmUp || performance.now() >= end) return filling;
    times = Math.min(times * 2, filling);
  }
}

function timingOf(measured: readonly Measurement[]): Timing {
  const cpu = measured.map(({ cpu, units }) => cpu / units);
  const last = measured.at(-1)!;
  return {
    cpu: median(cpu),
    cpuLeast: Math.min(...cpu),
    wall: median(measured.map(({ wall, units }) => wall / units)),
    rounds: cpu,
    check: last.check,
    facts: last.facts ?? {},
  };
}

/**
 * How many times as long as `floor` something took: the median of the rounds' ratios, for rounds were measured side by
 * side and share what the machine did besides.
 */
export function ratioOf(timing: Timing, floor: Timing): number {
  const shared = Math.min(timing.rounds.length, floor.rounds.length);
  return median(timing.rounds.slice(0, shared).map((cpu, i) => cpu / floor.rounds[i]));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
