/** Listening and connecting by node:net, where there is no koffi. @module */
import { chmodSync, existsSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Channel } from '../vfio-user/index.ts';
import { NetChannel } from './net-channel.ts';
import type { ListenOptions, SocketListener } from './socket-listener.ts';
import { checkSocketPath, noListener, removeStaleSocket, socketInUse } from './socket-path.ts';
import { SystemError } from './system-error.ts';

const DEFAULT_MODE = 0o600;

/** Connects to `path`: see `connect`. */
export async function connectNet(path: string): Promise<Channel> {
  checkSocketPath(path);
  return new NetChannel(await openSocket(path));
}

/** Listens on `path`: see `listen`. */
export async function listenNet(
  path: string,
  onChannel: (channel: Channel) => void,
  options: ListenOptions,
): Promise<SocketListener> {
  checkSocketPath(path);
  // libuv reports a folder that does not exist as EACCES.
  if (!existsSync(dirname(path))) throw listenFailed(path, { code: 'ENOENT' });
  const server = createServer((socket) => onChannel(new NetChannel(socket)));
  try {
    await listening(server, path);
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw listenFailed(path, error);
    if (await isLive(path)) throw socketInUse(path);
    removeStaleSocket(path);
    await listening(server, path).catch((again: unknown) => {
      throw listenFailed(path, again);
    });
  }
  chmodSync(path, options.mode ?? DEFAULT_MODE);
  return {
    path,
    // Accepted connections go on, and the server is done only when they are, so it is not waited for. libuv removes the
    // file, even one that somebody else has put there meanwhile.
    close: () => {
      server.close();
      return Promise.resolve();
    },
  };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      // A connection that cannot be accepted, for want of a descriptor for instance, is no end of the others.
      server.on('error', () => undefined);
      resolve();
    });
  });
}

function openSocket(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const failed = (error: Error): void => reject(noListener(path, codeOf(error)));
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/** Whether somebody may listen: a full backlog is somebody, too, and who may not connect cannot tell. */
async function isLive(path: string): Promise<boolean> {
  try {
    (await openSocket(path)).destroy();
    return true;
  } catch (error) {
    const errno = error instanceof SystemError ? error.errno : undefined;
    return errno !== 'ECONNREFUSED' && errno !== 'ENOENT';
  }
}

function listenFailed(path: string, error: unknown): SystemError {
  return new SystemError(
    'VIOMMU_SYSTEM',
    `listening on ${path}: failed with ${codeOf(error)}`,
    codeOf(error),
  );
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
