/** What recvmmsg fills: an array of `struct mmsghdr` with an `iovec` and a control buffer each, in native memory. @module */
import { alignUp, CMSGHDR_BYTES } from './control-message.ts';
import { type Libc, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, SCM_RIGHTS, SOL_SOCKET } from './libc.ts';
import { NativeMemory } from './native-memory.ts';

/**
 * Reads of one call. A peer may send 16 descriptors with each message, and all that a batch brings are open at once:
 * 512 fit the usual limit of 1,024 for a process.
 */
const SLOTS = 32;
/** Room of the second and later reads, which are for small messages with descriptors: those have 48 bytes, DMA_MAP. */
const SLOT_BYTES = 4096;

const MMSGHDR_BYTES = 64;
const IOVEC_BYTES = 16;
/** Word indices (4 bytes each) in a `struct mmsghdr`. */
const HEADER_WORDS: number = MMSGHDR_BYTES / 4;
const CONTROL_LENGTH = 10;
const FLAGS = 12;
const RECEIVED = 14;

/**
 * One or many reads in one call. The kernel ends a read behind bytes that brought descriptors, so QEMU's replay, which
 * sends one with each DMA_MAP, takes a read for each mapping. With a call for each of them QEMU was slowed down to 1.8
 * times what it takes with a server in C.
 *
 * Words are written as 32-bit halves: the room needs a little-endian host as all of viommu does, and lengths that musl
 * declares as 32 bits then lie right as well.
 */
export class ReceiveBatch {
  readonly #libc: Libc;
  /** As a number, which koffi passes 0.1 µs faster than a bigint; addresses have 47 bits. */
  readonly #address: number;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #control: Uint32Array;
  readonly #controlBytes: number;
  readonly #firstBytes: number;
  /** Headers that the last call may have changed. */
  #used: number = SLOTS;

  /** Room for `bytes` bytes in the first read, and for `descriptors` descriptors in each. */
  constructor(libc: Libc, bytes: number, descriptors: number) {
    this.#libc = libc;
    this.#firstBytes = bytes;
    // Whole 8 bytes, and not one descriptor more: what does not fit is closed by the kernel, which then sets MSG_CTRUNC.
    this.#controlBytes = alignUp(CMSGHDR_BYTES + descriptors * 4);
    const headers = new NativeMemory(libc, SLOTS * (MMSGHDR_BYTES + IOVEC_BYTES));
    const data = new NativeMemory(libc, bytes + (SLOTS - 1) * SLOT_BYTES);
    const control = new NativeMemory(libc, SLOTS * this.#controlBytes);
    const members = new BigUint64Array(headers.buffer);
    members.fill(0n);
    for (let slot = 0; slot < SLOTS; slot++) {
      const header = (slot * MMSGHDR_BYTES) / 8;
      const iovec = (SLOTS * MMSGHDR_BYTES + slot * IOVEC_BYTES) / 8;
      members[header + 2] = headers.address + BigInt(iovec * 8);
      members[header + 3] = 1n;
      members[header + 4] = control.address + BigInt(slot * this.#controlBytes);
      members[iovec] = data.address + BigInt(this.#dataAt(slot));
      members[iovec + 1] = BigInt(slot === 0 ? bytes : SLOT_BYTES);
    }
    this.#address = Number(headers.address);
    this.#words = new Uint32Array(headers.buffer);
    this.#bytes = new Uint8Array(data.buffer);
    this.#control = new Uint32Array(control.buffer);
  }

  /** The most reads of one call. */
  get slots(): number {
    return SLOTS;
  }

  /** Does `count` reads, at most {@link slots}, as far as there is something: how many were done, or -1 and an errno. */
  receive(fd: number, count: number): number {
    for (let slot = 0; slot < this.#used; slot++) {
      this.#words[slot * HEADER_WORDS + CONTROL_LENGTH] = this.#controlBytes;
      this.#words[slot * HEADER_WORDS + FLAGS] = 0;
    }
    this.#used = count;
    return this.#libc.recvmmsg(fd, this.#address, count, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, 0);
  }

  /** What read `slot` brought, until the next call; nothing at the end of the stream. */
  bytes(slot: number): Uint8Array {
    const at = this.#dataAt(slot);
    return this.#bytes.subarray(at, at + this.#words[slot * HEADER_WORDS + RECEIVED]!);
  }

  /** Whether read `slot` had more descriptors than there was room for, here or in the process. */
  truncated(slot: number): boolean {
    return (this.#words[slot * HEADER_WORDS + FLAGS]! & MSG_CTRUNC) !== 0;
  }

  /** The numbers of the descriptors that read `slot` brought, now the caller's. */
  descriptors(slot: number): number[] {
    const control = this.#control;
    const found: number[] = [];
    let at = slot * this.#controlBytes;
    const end = at + this.#words[slot * HEADER_WORDS + CONTROL_LENGTH]!;
    while (at + CMSGHDR_BYTES <= end) {
      const length = control[at / 4]!;
      if (length < CMSGHDR_BYTES) break;
      if (control[at / 4 + 2] === SOL_SOCKET && control[at / 4 + 3] === SCM_RIGHTS) {
        const last = Math.min(at + length, end) >> 2;
        for (let word = (at + CMSGHDR_BYTES) / 4; word < last; word++) found.push(control[word]!);
      }
      at += alignUp(length);
    }
    return found;
  }

  #dataAt(slot: number): number {
    return slot === 0 ? 0 : this.#firstBytes + (slot - 1) * SLOT_BYTES;
  }
}
