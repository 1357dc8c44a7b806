/** From an address space to a host IOMMU: the container, the host's contract, and a host IOMMU in memory. @module */
export type { AttachReport } from './attach-report.ts';
export * from './container.ts';
export * from './host-iommu.ts';
export * from './memory-host.ts';
export * from './refusal.ts';
export type { HostStrictness } from './strictness.ts';
