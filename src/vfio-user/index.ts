/**
 * vfio-user: the wire, connections over a channel, a server for PCI devices, a client that is a host IOMMU, and a
 * proxy. Knows no system: sockets, shared memory and eventfds are in `viommu/linux`.
 *
 * @module
 */
export * from './channel.ts';
export * from './client/index.ts';
export * from './close-reason.ts';
export * from './command.ts';
export * from './connection.ts';
export * from './descriptor.ts';
export * from './platform.ts';
export * from './proxy/index.ts';
export * from './server/index.ts';
export * from './wire/index.ts';
