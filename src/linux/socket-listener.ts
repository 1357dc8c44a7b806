import type { Channel } from '../vfio-user/index.ts';
import {
  AF_UNIX,
  EADDRINUSE,
  EAGAIN,
  ECONNABORTED,
  ECONNREFUSED,
  EINTR,
  ENOENT,
  type Libc,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from './libc.ts';
import { SocketChannel, type SocketChannelOptions } from './socket-channel.ts';
import { removeStaleSocket, socketAddress, SocketFile, socketInUse } from './socket-path.ts';
import { callFailed } from './system-error.ts';
import { Watch } from './watch.ts';

/** Waits for connections on a socket file. */
export interface SocketListener {
  readonly path: string;
  /** Stops listening and removes the socket file. Channels that were accepted go on. */
  close(): Promise<void>;
}

/** How a socket is listened on. */
export interface ListenOptions extends SocketChannelOptions {
  /** Permissions of the socket file; 0o600 when left out, so that only the same user connects. */
  readonly mode?: number;
}

const BACKLOG = 128;
const ACCEPTS_PER_TURN = 16;
/** When the process has no descriptor left, accepting fails until one is closed; asking at once again would not help. */
const RETRY_MILLISECONDS = 100;
const DEFAULT_MODE = 0o600;

/** Listens by system calls, for channels that pass descriptors. Throws as `listen` rejects. */
export class NativeListener implements SocketListener {
  readonly path: string;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #file: SocketFile;
  readonly #watch: Watch;
  readonly #onChannel: (channel: Channel) => void;
  readonly #options: ListenOptions;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(libc: Libc, path: string, onChannel: (channel: Channel) => void, options: ListenOptions) {
    this.#libc = libc;
    this.path = path;
    this.#onChannel = onChannel;
    this.#options = options;
    this.#fd = boundSocket(libc, path, options.mode ?? DEFAULT_MODE);
    this.#file = new SocketFile(path);
    this.#watch = new Watch(libc, this.#fd, () => this.#accept());
    if (libc.listen(this.#fd, BACKLOG) < 0) {
      const errno = libc.errno();
      this.#stop();
      throw callFailed(`listening on ${path}`, 'listen', errno);
    }
    this.#watch.set(true, false);
  }

  close(): Promise<void> {
    if (!this.#closed) this.#stop();
    return Promise.resolve();
  }

  #stop(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#watch.close();
    // First the file: who finds it can still connect.
    this.#file.remove();
    this.#libc.close(this.#fd);
  }

  #accept(): void {
    for (let accepted = 0; accepted < ACCEPTS_PER_TURN && !this.#closed; accepted++) {
      const fd = this.#libc.accept4(this.#fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        const errno = this.#libc.errno();
        if (errno === EINTR || errno === ECONNABORTED) continue;
        if (errno !== EAGAIN) this.#pause();
        return;
      }
      this.#hand(new SocketChannel(this.#libc, fd, this.#options));
    }
  }

  #hand(channel: SocketChannel): void {
    try {
      this.#onChannel(channel);
    } catch (error) {
      channel.close(true);
      // Nothing may be thrown through the event loop's callback; it is the caller's mistake and must be seen.
      process.nextTick(() => {
        throw error;
      });
    }
  }

  #pause(): void {
    this.#watch.set(false, false);
    this.#retry = setTimeout(() => this.#watch.set(true, false), RETRY_MILLISECONDS);
  }
}

/** Puts a socket at `path`, in the place of a file that nobody listens on. */
function boundSocket(libc: Libc, path: string, mode: number): number {
  const address = socketAddress(path);
  const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw callFailed(`listening on ${path}`, 'socket', libc.errno());
  try {
    const errno = bindWithMode(libc, fd, address, mode);
    if (errno === 0) return fd;
    if (errno !== EADDRINUSE) throw callFailed(`listening on ${path}`, 'bind', errno);
    if (isLive(libc, address)) throw socketInUse(path);
    removeStaleSocket(path);
    const again = bindWithMode(libc, fd, address, mode);
    if (again === 0) return fd;
    throw again === EADDRINUSE ? socketInUse(path) : callFailed(`listening on ${path}`, 'bind', again);
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** The errno, 0 for none. The file has its permissions from the start: nobody connects in between. */
function bindWithMode(libc: Libc, fd: number, address: Uint8Array, mode: number): number {
  const previous = libc.umask(~mode & 0o777);
  const errno = libc.bind(fd, address, address.length) === 0 ? 0 : libc.errno();
  libc.umask(previous);
  return errno;
}

/** Whether somebody may listen at an address: a full backlog is somebody, too, and who may not connect cannot tell. */
function isLive(libc: Libc, address: Uint8Array): boolean {
  const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw callFailed('looking whether a socket is in use', 'socket', libc.errno());
  const errno = libc.connect(fd, address, address.length) === 0 ? 0 : libc.errno();
  libc.close(fd);
  return errno !== ECONNREFUSED && errno !== ENOENT;
}
