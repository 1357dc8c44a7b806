/**
 * `struct msghdr` with one `iovec` and a control buffer, in native memory. Words are written as 32-bit halves: the room
 * needs a little-endian host as all of viommu does, and lengths that musl declares as 32 bits then lie right as well.
 *
 * @module
 */
import { alignUp, CMSGHDR_BYTES } from './control-message.ts';
import { type Libc, SCM_RIGHTS, SOL_SOCKET } from './libc.ts';
import { NativeMemory } from './native-memory.ts';

const CONTROL_AT = 128;
/** Word indices (4 bytes each) of the members that are written again and again. */
const CONTROL_LENGTH = 10;
const IOV_LENGTH = 18;

/** The most descriptors that Linux passes with one message (SCM_MAX_FD). */
export const MAX_DESCRIPTORS_PER_MESSAGE = 253;

/** One message to be sent: a header, a buffer for its bytes and one for its descriptors. */
export class MessageHeader {
  /** What sendmsg takes. */
  readonly address: bigint;
  /** The message's bytes. */
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;

  /** Room for messages of `bytes` bytes and `descriptors` descriptors. */
  constructor(libc: Libc, bytes: number, descriptors: number) {
    const data = new NativeMemory(libc, bytes);
    const header = new NativeMemory(libc, CONTROL_AT + CMSGHDR_BYTES + alignUp(descriptors * 4));
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
}
