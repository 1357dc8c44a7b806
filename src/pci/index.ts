/** PCI functions and bridges, and the requester IDs under which an IOMMU sees them. @module */
export * from './dma-spaces.ts';
export * from './hierarchy.ts';
export * from './requester.ts';
