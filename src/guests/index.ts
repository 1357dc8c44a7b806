/** Where guest state comes from: ELF cores, captures, and a driver that writes a guest's tables. Needs Node. @module */
export type { CapturedFunction, CaptureRegisters, QemuTiming, RegisterDump } from './capture-machine.ts';
export type { CaptureEvent, CaptureMap, CaptureMapping } from './capture-lines.ts';
export * from './capture.ts';
export * from './elf-core.ts';
export * from './guest-file-error.ts';
export * from './page-allocator.ts';
export * from './shipped-captures.ts';
export * from './vtd-driver/driver.ts';
export { VtdDomain } from './vtd-driver/domain.ts';
export * from './vtd-driver/error.ts';
export * from './vtd-driver/events.ts';
export type { RegisterAccess, Settled } from './vtd-driver/queue.ts';
export * from './virtio-driver/driver.ts';
export * from './virtio-driver/error.ts';
export type { EventBuffers } from './virtio-driver/event-queue.ts';
export type { RequestResult } from './virtio-driver/request-queue.ts';
export type * from './virtio-driver/requests.ts';
export type * from './virtio-driver/transport.ts';
