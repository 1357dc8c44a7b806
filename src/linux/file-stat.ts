import type { Libc } from './libc.ts';
import { NativeMemory } from './native-memory.ts';

/** The number of statx by architecture: older C libraries have the call but not the function. */
const SYS_STATX: Readonly<Record<string, number>> = { x64: 332, arm64: 291, riscv64: 291, loong64: 291 };
const AT_EMPTY_PATH = 0x1000;
/** What the kernel knows, without asking whoever serves the file. */
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_TYPE = 0x1;
const STATX_INO = 0x100;
const STATX_SIZE = 0x200;
const STATX_BYTES = 256;
const S_IFMT = 0xf000;
const S_IFREG = 0x8000;

/**
 * What is open behind a descriptor: its type, identity and size, read by `look` into memory that is there. That takes
 * 0.7 µs and leaves no garbage; fstatSync with bigints takes 1.1 µs, and its key as a string as much again.
 */
export class FileStat {
  readonly #libc: Libc;
  readonly #number: number | undefined = SYS_STATX[process.arch];
  /** As a number, which koffi passes 0.1 µs faster than a bigint; addresses have 47 bits. */
  readonly #address: number;
  readonly #path: number;
  readonly #words: Uint32Array;

  constructor(libc: Libc) {
    const memory = new NativeMemory(libc, STATX_BYTES + 8);
    this.#libc = libc;
    this.#address = Number(memory.address);
    this.#path = this.#address + STATX_BYTES;
    this.#words = new Uint32Array(memory.buffer);
    this.#words[STATX_BYTES / 4] = 0;
  }

  /** Looks; false when this system cannot, or nothing is open. Only then is what follows of that file. */
  look(fd: number): boolean {
    if (this.#number === undefined) return false;
    const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
    const mask = STATX_TYPE | STATX_INO | STATX_SIZE;
    return this.#libc.syscall(this.#number, fd, this.#path, flags, mask, this.#address) === 0;
  }

  /** Whether it is a regular file. */
  get isFile(): boolean {
    return (this.#words[7]! & S_IFMT) === S_IFREG;
  }

  /** Bytes in it now, exact up to 2^53. */
  get size(): number {
    return this.#words[11]! * 2 ** 32 + this.#words[10]!;
  }

  /** Whether it is the file of `identity`, which {@link remember} filled in. */
  is(identity: Uint32Array): boolean {
    const words = this.#words;
    return (
      words[8] === identity[0] &&
      words[9] === identity[1] &&
      words[34] === identity[2] &&
      words[35] === identity[3]
    );
  }

  /** Its inode and device, as four words. */
  remember(identity: Uint32Array): void {
    const words = this.#words;
    identity.set([words[8]!, words[9]!, words[34]!, words[35]!]);
  }
}
