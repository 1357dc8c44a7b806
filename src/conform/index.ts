/**
 * Scenarios as data, and what runs them: our models, or a QEMU that the user names. Needs Node.
 *
 * @module
 */
export * from './differences.ts';
export * from './driver.ts';
export * from './run-scenario.ts';
export * from './scenario.ts';
export * from './start.ts';
export * from './random/index.ts';
export * from './table/index.ts';
export * from './judge.ts';
export * from './step-text.ts';
export * from './text.ts';
export * from './requesters.ts';
export type { QemuSinks } from './vmm/qemu-vmm.ts';
export { MACHINE_RAM } from './vmm.ts';
export { CONFORM_MODELS } from './models/index.ts';
export * from './vmm/model-vmm.ts';
export * from './vmm-driver.ts';
