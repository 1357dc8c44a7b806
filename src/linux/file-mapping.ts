import {
  type Libc,
  MAP_ANONYMOUS,
  MAP_FAILED,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from './libc.ts';

/** Bytes in a window, 1 GiB: a view of more than 4 GiB ends Node 20, and a word index stays a small integer. */
export const WINDOW_BYTES: number = 2 ** 30;

interface Range {
  readonly libc: Libc;
  readonly address: bigint;
  readonly length: bigint;
}

/** Gives address space back once nothing can reach it any more. */
const unreachable = new FinalizationRegistry<Range>(({ libc, address, length }) => {
  libc.munmap(address, length);
});

/**
 * A file mapped into this process, seen through windows of 1 GiB. The file may be closed afterwards, but must not shrink:
 * the process dies when it touches what is no longer there.
 */
export class FileMapping {
  /** Length in bytes. */
  readonly bytes: number;
  readonly writable: boolean;
  readonly #libc: Libc;
  readonly #address: bigint;
  readonly #windows: (Uint32Array | undefined)[];
  #released = false;

  private constructor(libc: Libc, address: bigint, bytes: number, writable: boolean) {
    this.#libc = libc;
    this.#address = address;
    this.bytes = bytes;
    this.writable = writable;
    this.#windows = new Array<Uint32Array | undefined>(Math.ceil(bytes / WINDOW_BYTES)).fill(undefined);
  }

  /** Maps the first `bytes` bytes, whole pages, of the file behind `fd`; an errno when the system refuses. */
  static map(libc: Libc, fd: number, bytes: number, writable: boolean): FileMapping | number {
    const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    const address = libc.mmap(0n, BigInt(bytes), protection, MAP_SHARED, fd, 0n);
    return address === MAP_FAILED ? libc.errno() : new FileMapping(libc, address, bytes, writable);
  }

  /** The words of window `index`: 1 GiB from byte `index` * 2^30 on, less at the end. */
  window(index: number): Uint32Array {
    return this.#windows[index] ?? this.#open(index);
  }

  /**
   * Lets go of the file. Windows that were handed out cannot be taken back, so they show memory of this process from now
   * on, zeros at first, and their addresses are freed when the last of them is gone.
   */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    for (const [index, words] of this.#windows.entries()) {
      const range = this.#range(index);
      if (words === undefined) this.#libc.munmap(range.address, range.length);
      else {
        this.#cover(range);
        unreachable.register(words.buffer, range);
      }
    }
    this.#windows.fill(undefined);
  }

  #open(index: number): Uint32Array {
    if (this.#released) throw new Error('the file mapping was released');
    const { address, length } = this.#range(index);
    const words = new Uint32Array(this.#libc.koffi.view(address, Number(length)));
    this.#windows[index] = words;
    return words;
  }

  #range(index: number): Range {
    const start = index * WINDOW_BYTES;
    const length = Math.min(WINDOW_BYTES, this.bytes - start);
    return { libc: this.#libc, address: this.#address + BigInt(start), length: BigInt(length) };
  }

  /** Writable memory may be refused where the system promises no more than it has; then late writers are not survived. */
  #cover({ address, length }: Range): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    for (const protection of [PROT_READ | PROT_WRITE, PROT_READ]) {
      if (this.#libc.mmap(address, length, protection, flags, -1, 0n) !== MAP_FAILED) return;
    }
  }
}
