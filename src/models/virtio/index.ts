/**
 * The virtio IOMMU: domains and mappings by request over virtqueues, the front by which a transport drives it, and the
 * spaces of its endpoints. `spec` holds the layouts and constants under the specification's names.
 *
 * @module
 */
export { Domain, type EndpointId } from './domain-table.ts';
export * from './endpoint-space.ts';
export { DEFAULT_FEATURES, type VirtioIommuOptions } from './options.ts';
export type { SendInterrupt } from '../send-interrupt.ts';
export * as spec from './spec/index.ts';
export * from './virtio-device.ts';
export * from './virtio-iommu.ts';
export * from './virtio-region.ts';
export * from './virtqueue/index.ts';
