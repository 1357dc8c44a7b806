/**
 * AMD-Vi: the IOMMU, the requester spaces that it serves, its table format, and the lookups behind a translation. `spec`
 * holds the layouts and constants under the specification's names.
 *
 * @module
 */
export { RegisterDumpError } from '../register-dump-error.ts';
export type { SendInterrupt } from '../send-interrupt.ts';
export * from './amdvi-iommu.ts';
export * from './amdvi-region.ts';
export * from './amdvi-space.ts';
export * from './amdvi-state.ts';
export * from './device-translation.ts';
export { INTERRUPT_RANGE } from './interrupt-range.ts';
export type { InterruptMessage } from './own-interrupt.ts';
export * from './page-format.ts';
export { capabilityOfDump } from './register-dump.ts';
export * as spec from './spec/index.ts';
export type { Capability, FaultReason } from './spec/index.ts';
