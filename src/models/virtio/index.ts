/**
 * The virtio IOMMU: mappings by request over virtqueues. `spec` holds the layouts and constants under the
 * specification's names.
 *
 * @module
 */
export * as spec from './spec/index.ts';
