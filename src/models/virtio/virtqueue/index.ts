/** The device's side of split virtqueues (virtio 1.3, 2.7), for any transport and any kind of device. @module */
export * from './chain.ts';
export * from './split-queue.ts';
