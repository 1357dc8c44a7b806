/** The pieces put together: memory, an IOMMU, a PCI hierarchy, hosts; plug and unplug as transactions. @module */
export * from './guest-memory.ts';
export * from './machine.ts';
