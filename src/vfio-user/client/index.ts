/** The client's side of vfio-user: a device in another process, as a host IOMMU for what it may reach. @module */
export * from './client.ts';
export type { DeviceRegionInfo } from './device-access.ts';
export * from './errors.ts';
export type { VfioUserClientOptions } from './options.ts';
export type { SharedRamBlock } from './shared-ram.ts';
