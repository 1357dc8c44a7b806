/** Random scenarios: steps from a seed, two drivers side by side, and the smallest steps that still differ. @module */
export * from './compare.ts';
export * from './departures/index.ts';
export * from './differential.ts';
export * from './generate.ts';
export * from './prng.ts';
export type * from './guest-state.ts';
export * from './known-departure.ts';
export * from './literal.ts';
export * from './machines.ts';
export * from './shrink.ts';
