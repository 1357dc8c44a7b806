import { fstatSync, readSync, writeSync } from 'node:fs';
import type { DeviceHandler } from '../memory/index.ts';

/**
 * A file read and written by system calls, for files that may become shorter at any moment: a mapping of one would
 * end this process, here the access is refused.
 */
export class FileHandler implements DeviceHandler {
  readonly #fd: number;
  readonly #mayWrite: () => boolean;

  /** `fd` stays the caller's, open as long as the handler is used. `mayWrite` is asked before each write. */
  constructor(fd: number, mayWrite: () => boolean) {
    this.#fd = fd;
    this.#mayWrite = mayWrite;
  }

  read(offset: number, data: Uint8Array): boolean {
    try {
      return readSync(this.#fd, data, 0, data.length, offset) === data.length;
    } catch {
      return false;
    }
  }

  write(offset: number, data: Uint8Array): boolean {
    if (!this.#mayWrite()) return false;
    try {
      // A write past the end would make the file longer again, which is not what memory does.
      if (offset + data.length > fstatSync(this.#fd).size) return false;
      return writeSync(this.#fd, data, 0, data.length, offset) === data.length;
    } catch {
      return false;
    }
  }
}
