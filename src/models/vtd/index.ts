/**
 * Intel VT-d: the remapping unit, the requester spaces that it serves, its table formats, and the lookups behind a
 * translation. `spec` holds the layouts and constants under the specification's names.
 *
 * @module
 */
export * from './fault.ts';
export { INTERRUPT_RANGE } from './interrupt-range.ts';
export type { SendInterrupt } from '../send-interrupt.ts';
export * from './nested.ts';
export * from './paging-format.ts';
export { RegisterDumpError } from '../register-dump-error.ts';
export { capabilityOfDump } from './register-dump.ts';
export { VtdSetupError } from './register-set.ts';
export * from './remapping-state.ts';
export * from './request-translation.ts';
export * from './requester-space.ts';
export * as spec from './spec/index.ts';
export { type Capability, type FaultReason, faultReason, type Words } from './spec/index.ts';
export * from './stages.ts';
export * from './vtd-iommu.ts';
export * from './vtd-region.ts';
