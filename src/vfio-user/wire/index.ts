/** The messages of vfio-user as bytes and as values: pure functions, no state. @module */
export type * from './capabilities.ts';
export {
  accept,
  type Accepted,
  type Codec,
  type Decoded,
  emptyPayload,
  refuse,
  type Refused,
} from './codec.ts';
export * from './commands.ts';
export * from './device-feature.ts';
export * from './device-info.ts';
export * from './dma-access.ts';
export * from './dma-logging.ts';
export * from './dma-map.ts';
export { DmaMapPayload } from './dma-map-payload.ts';
export * from './dma-unmap.ts';
export * from './errno.ts';
export * from './header.ts';
export type { IndexedRequest } from './indexed-request.ts';
export * from './irq-info.ts';
export * from './limits.ts';
export * from './messages.ts';
export * from './migration.ts';
export * from './region-access.ts';
export type { SparseArea } from './region-capabilities.ts';
export * from './region-info.ts';
export * from './region-io-fds.ts';
export * from './region-write-multi.ts';
export * from './set-irqs.ts';
export * from './version.ts';
