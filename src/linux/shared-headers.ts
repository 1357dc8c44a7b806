import type { Descriptor } from '../vfio-user/index.ts';
import { type Libc, MSG_DONTWAIT, MSG_NOSIGNAL } from './libc.ts';
import { MAX_DESCRIPTORS_PER_MESSAGE, MessageHeader } from './message-header.ts';
import { ReceiveBatch } from './receive-batch.ts';

/** A read takes at most this much: about what the kernel holds for a UNIX socket. */
const RECEIVE_BYTES = 262_144;
/** Messages with descriptors are small. Of a larger one, the rest follows in a call of its own. */
const SEND_BYTES = 65_536;
/** vfio-user VERSION max_msg_fds, whose default is 1, is 16 at the most with every known peer. */
const RECEIVED_DESCRIPTORS = 16;

/**
 * The buffers that all channels share: a read is handed over before the next one, and a call copies what it sends.
 */
export class SharedHeaders {
  /** For what is received. */
  readonly receive: ReceiveBatch;
  readonly #send: MessageHeader;
  readonly #libc: Libc;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.receive = new ReceiveBatch(libc, RECEIVE_BYTES, RECEIVED_DESCRIPTORS);
    this.#send = new MessageHeader(libc, SEND_BYTES, MAX_DESCRIPTORS_PER_MESSAGE);
  }

  /** sendmsg of the beginning of `bytes` with descriptors: the bytes taken, or -1 and an errno. Throws when one is closed. */
  sendWith(fd: number, bytes: Uint8Array, descriptors: readonly Descriptor[]): number {
    const length = Math.min(bytes.length, SEND_BYTES);
    this.#send.bytes.set(bytes.subarray(0, length));
    this.#send.prepareSend(length, descriptors.map(openNumber));
    return this.#libc.sendmsg(fd, this.#send.address, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

/** The number of a closed one may be another file's by now. */
function openNumber(descriptor: Descriptor): number {
  if (descriptor.closed) throw new Error(`descriptor ${descriptor.number} is closed`);
  return descriptor.number;
}

let headers: SharedHeaders | undefined;

/** The process's only ones. */
export function sharedHeaders(libc: Libc): SharedHeaders {
  headers ??= new SharedHeaders(libc);
  return headers;
}
