import { lstatSync, unlinkSync } from 'node:fs';
import { AF_UNIX } from './libc.ts';
import { SystemError } from './system-error.ts';

/** `sun_path` has 108 bytes, the last of which is a NUL. */
const MAX_PATH_BYTES = 107;

/** `struct sockaddr_un` for a path. Throws VIOMMU_SOCKET_PATH when it cannot be one. */
export function socketAddress(path: string): Uint8Array {
  const bytes = checkSocketPath(path);
  const address = new Uint8Array(2 + bytes.length + 1);
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}

/** The path's bytes. Throws VIOMMU_SOCKET_PATH when no socket can have it. */
export function checkSocketPath(path: string): Uint8Array {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length === 0 || bytes.includes(0)) {
    throw new SystemError(
      'VIOMMU_SOCKET_PATH',
      `${JSON.stringify(path)} is no path: give that of a socket file`,
    );
  }
  if (bytes.length > MAX_PATH_BYTES) {
    throw new SystemError(
      'VIOMMU_SOCKET_PATH',
      `the socket path ${path} has ${bytes.length} bytes, of which Linux takes ${MAX_PATH_BYTES}: choose a shorter one, ` +
        'or a path relative to the working directory',
    );
  }
  return bytes;
}

/** The error for a path on which another process listens. */
export function socketInUse(path: string): SystemError {
  return new SystemError(
    'VIOMMU_SOCKET_IN_USE',
    `${path}: another process listens there already; stop it, or choose another path`,
  );
}

/** The error for a path to which no connection can be made. */
export function noListener(path: string, errno: string): SystemError {
  const why =
    errno === 'ENOENT'
      ? 'there is no such socket'
      : errno === 'ECONNREFUSED'
        ? 'nobody listens on this socket'
        : `connecting failed with ${errno}`;
  return new SystemError(
    'VIOMMU_NO_LISTENER',
    `${path}: ${why}; start the server first, or check the path`,
    errno,
  );
}

/** Removes the file of a socket on which nobody listens. Throws VIOMMU_SOCKET_PATH when it is something else. */
export function removeStaleSocket(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new SystemError(
      'VIOMMU_SOCKET_PATH',
      `${path} exists and is no socket, so it is left alone: remove it, or choose another path`,
    );
  }
  unlinkSync(path);
}

/** The file of a socket that this process has bound, to be removed when it is no longer listened on. */
export class SocketFile {
  readonly path: string;
  readonly #dev: bigint | undefined;
  readonly #ino: bigint | undefined;

  /** Remembers the file that is at `path` now. */
  constructor(path: string) {
    const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    this.path = path;
    this.#dev = found?.dev;
    this.#ino = found?.ino;
  }

  /** Removes the file unless it is gone, or another process has put its own there. */
  remove(): void {
    const found = lstatSync(this.path, { bigint: true, throwIfNoEntry: false });
    if (found === undefined || found.dev !== this.#dev || found.ino !== this.#ino) return;
    try {
      unlinkSync(this.path);
    } catch {
      // The folder may have become unwritable; a stale file is replaced by whoever listens next.
    }
  }
}
