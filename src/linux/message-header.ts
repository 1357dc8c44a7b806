/**
 * `struct msghdr` with one `iovec` and a control buffer, in native memory. Words are written as 32-bit halves: the room
 * needs a little-endian host as all of viommu does, and lengths that musl declares as 32 bits then lie right as well.
 *
 * @module
 */
import { type Libc, MSG_CTRUNC, SCM_RIGHTS, SOL_SOCKET } from './libc.ts';
import { NativeMemory } from './native-memory.ts';

const CONTROL_AT = 128;
const CMSGHDR_BYTES = 16;
/** Word indices (4 bytes each) of the members that are written again and again. */
const CONTROL_LENGTH = 10;
const FLAGS = 12;
const IOV_LENGTH = 18;

/** The most descriptors that Linux passes with one message (SCM_MAX_FD). */
export const MAX_DESCRIPTORS_PER_MESSAGE = 253;

/** One message to be sent or received: a header, a buffer for its bytes and one for its descriptors. */
export class MessageHeader {
  /** What sendmsg and recvmsg take. */
  readonly address: bigint;
  /** The message's bytes. */
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #controlBytes: number;

  /** Room for messages of `bytes` bytes and `descriptors` descriptors. */
  constructor(libc: Libc, bytes: number, descriptors: number) {
    // Whole 8 bytes, and not one descriptor more: what does not fit is closed by the kernel, which then sets MSG_CTRUNC.
    this.#controlBytes = CMSGHDR_BYTES + alignUp(descriptors * 4);
    const data = new NativeMemory(libc, bytes);
    const header = new NativeMemory(libc, CONTROL_AT + this.#controlBytes);
    const members = new BigUint64Array(header.buffer, 0, CONTROL_AT / 8);
    const iov = header.address + 64n;
    members.fill(0n);
    members[2] = iov;
    members[3] = 1n;
    members[4] = header.address + BigInt(CONTROL_AT);
    members[8] = data.address;
    members[9] = BigInt(bytes);
    this.address = header.address;
    this.bytes = new Uint8Array(data.buffer);
    this.#words = new Uint32Array(header.buffer);
  }

  /** To be called before each recvmsg, which overwrites these. */
  prepareReceive(): void {
    this.#words[CONTROL_LENGTH] = this.#controlBytes;
    this.#words[FLAGS] = 0;
  }

  /** Sets what sendmsg sends: the first `length` of {@link bytes} with these descriptors, at least one. */
  prepareSend(length: number, descriptors: readonly number[]): void {
    const words = this.#words;
    const control = CONTROL_AT / 4;
    words[IOV_LENGTH] = length;
    words[CONTROL_LENGTH] = CMSGHDR_BYTES + alignUp(descriptors.length * 4);
    words[control] = CMSGHDR_BYTES + descriptors.length * 4;
    words[control + 1] = 0;
    words[control + 2] = SOL_SOCKET;
    words[control + 3] = SCM_RIGHTS;
    words.set(descriptors, control + 4);
  }

  /** Whether a received message had more descriptors than there was room for. */
  get truncated(): boolean {
    return ((this.#words[FLAGS] ?? 0) & MSG_CTRUNC) !== 0;
  }

  /** The numbers of the descriptors that were received with a message. */
  receivedDescriptors(): number[] {
    const words = this.#words;
    const end = CONTROL_AT + (words[CONTROL_LENGTH] ?? 0);
    const found: number[] = [];
    for (let at = CONTROL_AT; at + CMSGHDR_BYTES <= end; ) {
      const length = words[at / 4] ?? 0;
      if (length < CMSGHDR_BYTES) break;
      if (words[at / 4 + 2] === SOL_SOCKET && words[at / 4 + 3] === SCM_RIGHTS) {
        found.push(...words.subarray((at + CMSGHDR_BYTES) / 4, Math.min(at + length, end) >> 2));
      }
      at += alignUp(length);
    }
    return found;
  }
}

function alignUp(bytes: number): number {
  return (bytes + 7) & ~7;
}
