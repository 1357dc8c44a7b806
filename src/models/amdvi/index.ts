/**
 * AMD-Vi: the IOMMU, the requester spaces that it serves, its table format, and the lookups behind a translation. `spec`
 * holds the layouts and constants under the specification's names.
 *
 * @module
 */
export * as spec from './spec/index.ts';
export { type Capability, type FaultReason } from './spec/index.ts';
