/** From messages to a stream of bytes. @module */
import type { Channel } from './channel.ts';
import type { Descriptor } from './descriptor.ts';
import { type Header, HEADER_BYTES, writeHeader } from './wire/index.ts';

/** Messages are collected up to this many bytes: a send costs more than a copy. */
const COLLECTED_BYTES = 65_536;

/** A header that is written and not kept. */
export type OutgoingHeader = { -readonly [K in keyof Header]: Header[K] };

/** Collects messages, so that many small ones cost one send. */
export class Outbox {
  readonly #channel: Channel;
  readonly #buffer: Uint8Array = new Uint8Array(COLLECTED_BYTES);
  #length = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Whether something waits for `flush`. */
  get waiting(): boolean {
    return this.#length > 0;
  }

  /** Bytes that the peer's side has not taken yet. */
  get queuedBytes(): number {
    return this.#length + this.#channel.queuedBytes;
  }

  /**
   * Adds a message, whose payload may be reused afterwards; the size in `header` is set here. One with descriptors is
   * sent on its own at once, so that they cannot be taken for another's.
   */
  put(header: OutgoingHeader, payload: Uint8Array, descriptors: readonly Descriptor[]): void {
    const size = HEADER_BYTES + payload.length;
    const own = descriptors.length > 0;
    if (own || this.#length + size > COLLECTED_BYTES) this.flush();
    header.size = size;
    if (size > COLLECTED_BYTES) {
      const whole = new Uint8Array(size);
      writeHeader(whole, 0, header);
      whole.set(payload, HEADER_BYTES);
      this.#channel.send(whole, descriptors);
      return;
    }
    writeHeader(this.#buffer, this.#length, header);
    // Most messages are answers with nothing in them, and `set` takes 19 ns all the same.
    if (payload.length > 0) this.#buffer.set(payload, this.#length + HEADER_BYTES);
    this.#length += size;
    if (!own) return;
    this.#length = 0;
    this.#channel.send(this.#buffer.subarray(0, size), descriptors);
  }

  /** Sends what was collected. */
  flush(): void {
    if (this.#length === 0) return;
    const length = this.#length;
    this.#length = 0;
    this.#channel.send(this.#buffer.subarray(0, length));
  }
}
