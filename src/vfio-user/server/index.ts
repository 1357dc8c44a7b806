/** A server: a PCI device written in TypeScript, and guest memory as its client maps it. @module */
export type { DeviceMemory } from './device-memory.ts';
export * from './dma-error.ts';
export type { DmaMapping } from './dma-mapping.ts';
export type { DmaHold } from './dma-traffic.ts';
export type { DmaEvent, ServerEvents } from './events.ts';
export * from './limits.ts';
export type * from './pci-device.ts';
export * from './server.ts';
