import { fileKind, isLocal } from './file-kind.ts';
import type { FileStat } from './file-stat.ts';
import type { Libc } from './libc.ts';

/**
 * Says which file is behind a descriptor. A replay sends one descriptor of the same file after the other, so the last
 * file's key is kept. Only the key: numbers of descriptors are used again, so each is looked at.
 */
export class FileIdentity {
  readonly #libc: Libc;
  readonly #stat: FileStat;
  readonly #last: Uint32Array = new Uint32Array(4);
  #key: string | undefined;

  constructor(libc: Libc, stat: FileStat) {
    this.#libc = libc;
    this.#stat = stat;
  }

  /** `FileKind.key`; undefined for what is no file, or none that may be looked at. */
  keyOf(fd: number): string | undefined {
    if (!isLocal(this.#libc, fd)) return undefined;
    const looked = this.#stat.look(fd) && this.#stat.isFile;
    if (looked && this.#key !== undefined && this.#stat.is(this.#last)) return this.#key;
    const kind = fileKind(this.#libc, fd);
    if (!('key' in kind)) return undefined;
    if (looked) {
      this.#key = kind.key;
      this.#stat.remember(this.#last);
    }
    return kind.key;
  }
}
