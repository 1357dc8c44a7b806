/** Random scenarios: steps from a seed, two drivers side by side, and the smallest steps that still differ. @module */
export * from './compare.ts';
export * from './generate.ts';
export * from './prng.ts';
export * from './shrink.ts';
export * from './step-rules.ts';
