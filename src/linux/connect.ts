import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel } from '../vfio-user/index.ts';
import {
  AF_UNIX,
  EAGAIN,
  EINTR,
  type Libc,
  openLibc,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from './libc.ts';
import { connectNet } from './net-sockets.ts';
import { SocketChannel, type SocketChannelOptions } from './socket-channel.ts';
import { noListener, socketAddress } from './socket-path.ts';
import { callFailed, errnoName } from './system-error.ts';

/** How a connection is made. */
export interface ConnectOptions extends SocketChannelOptions {
  /** For how long to wait, in milliseconds, while the listener's backlog is full; 5,000 when left out. */
  readonly timeout?: number;
}

const DEFAULT_TIMEOUT = 5000;
const RETRY_MILLISECONDS = 10;

/**
 * Connects to the socket at `path`; without koffi to a channel that passes no descriptors. Rejects with a SystemError:
 * VIOMMU_NO_LISTENER, VIOMMU_SOCKET_PATH.
 */
export async function connect(path: string, options: ConnectOptions = {}): Promise<Channel> {
  const libc = openLibc();
  if (libc === undefined) return connectNet(path);
  const address = socketAddress(path);
  const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw callFailed(`connecting to ${path}`, 'socket', libc.errno());
  const errno = await connectWithin(libc, fd, address, options.timeout ?? DEFAULT_TIMEOUT);
  if (errno === 0) return new SocketChannel(libc, fd, options);
  libc.close(fd);
  throw noListener(path, errnoName(errno));
}

/** The errno, 0 for none. */
async function connectWithin(libc: Libc, fd: number, address: Uint8Array, timeout: number): Promise<number> {
  const until = performance.now() + timeout;
  for (;;) {
    if (libc.connect(fd, address, address.length) === 0) return 0;
    const errno = libc.errno();
    // A non-blocking UNIX socket does not wait in a full backlog.
    if (errno !== EINTR && (errno !== EAGAIN || performance.now() > until)) return errno;
    await sleep(RETRY_MILLISECONDS);
  }
}
