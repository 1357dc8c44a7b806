import type { Channel } from '../vfio-user/index.ts';
import { openLibc } from './libc.ts';
import { listenNet } from './net-sockets.ts';
import { type ListenOptions, NativeListener, type SocketListener } from './socket-listener.ts';

/**
 * Listens on the socket file `path`. A file that nobody listens on any more is replaced. Every connection is handed over
 * as a channel, which passes descriptors unless koffi is missing. Rejects with a SystemError: VIOMMU_SOCKET_IN_USE,
 * VIOMMU_SOCKET_PATH (too long, or something that is no socket is there), VIOMMU_SYSTEM.
 */
export async function listen(
  path: string,
  onChannel: (channel: Channel) => void,
  options: ListenOptions = {},
): Promise<SocketListener> {
  const libc = openLibc();
  if (libc === undefined) return listenNet(path, onChannel, options);
  return new NativeListener(libc, path, onChannel, options);
}
