/**
 * Linux underneath vfio-user: sockets that pass descriptors, memory shared with peers, eventfds. The only room that calls
 * the kernel, through the optional package koffi; without it sockets pass bytes only.
 *
 * @module
 */
export { connect, type ConnectOptions } from './connect.ts';
export { EventFd } from './eventfd.ts';
export { listen } from './listen.ts';
export { MappedFile, mapFile } from './mapped-file.ts';
export { MemfdRamBlock } from './memfd-ram-block.ts';
export { openDescriptors } from './open-descriptors.ts';
export { linuxPlatform, type LinuxPlatform } from './platform.ts';
export type { SharedFilesOptions } from './shared-files.ts';
export type { SocketChannelOptions } from './socket-channel.ts';
export type { ListenOptions, SocketListener } from './socket-listener.ts';
export { SystemError, type SystemErrorCode } from './system-error.ts';
