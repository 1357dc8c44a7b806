/** From a stream of bytes to messages. @module */
import { EMPTY, NO_DESCRIPTORS } from './command.ts';
import { type Descriptor, releaseAll } from './descriptor.ts';
import { type Header, HEADER_BYTES, readHeader } from './wire/index.ts';

/** What a peer may send. */
export interface FrameLimits {
  /** Largest message in bytes, header included. */
  maxMessageBytes: number;
  /** Descriptors with one message. */
  maxDescriptors: number;
}

/** Takes a whole message. The payload is its only during the call, the descriptors are its for good. */
export type TakeMessage = (
  header: Header,
  payload: Uint8Array,
  descriptors: readonly Descriptor[],
) => string | undefined;

/**
 * Cuts what arrives into messages. A message that lies whole in what arrived is handed on without a copy; one that
 * arrives in parts is put together in a buffer no larger than a message may be.
 */
export class FrameReader {
  readonly #limits: FrameLimits;
  readonly #take: TakeMessage;
  /** The message that has begun to arrive: its bytes so far, and its descriptors. */
  #partial: Uint8Array = new Uint8Array(0);
  #length = 0;
  #descriptors: readonly Descriptor[] = NO_DESCRIPTORS;

  constructor(limits: FrameLimits, take: TakeMessage) {
    this.#limits = limits;
    this.#take = take;
  }

  /** Bytes of a message that has begun to arrive. */
  get pendingBytes(): number {
    return this.#length;
  }

  /**
   * Takes bytes, and descriptors that belong to the last message that begins in them. Returns why the stream cannot be
   * understood, if so: then everything that was not handed on has been released, and nothing more may be pushed.
   */
  push(bytes: Uint8Array, descriptors: readonly Descriptor[]): string | undefined {
    const wrong = this.#push(bytes, descriptors);
    if (wrong !== undefined) this.discard();
    return wrong;
  }

  /** Forgets a message that has begun to arrive. */
  discard(): void {
    releaseAll(this.#descriptors);
    this.#descriptors = NO_DESCRIPTORS;
    this.#length = 0;
  }

  #push(bytes: Uint8Array, descriptors: readonly Descriptor[]): string | undefined {
    let owned = descriptors;
    const wrong = this.#cut(bytes, () => {
      const given = owned;
      owned = NO_DESCRIPTORS;
      return given;
    });
    if (owned.length > 0) {
      const count = owned.length;
      releaseAll(owned);
      return wrong ?? `${count} descriptors came in the middle of a message: send them with its first byte`;
    }
    return wrong;
  }

  #cut(bytes: Uint8Array, giveDescriptors: () => readonly Descriptor[]): string | undefined {
    let at = 0;
    if (this.#length > 0) {
      at = this.#fill(bytes, 0, HEADER_BYTES);
      if (this.#length < HEADER_BYTES) return undefined;
      const header = this.#header(this.#partial, 0);
      if (typeof header === 'string') return header;
      this.#reserve(header.size);
      at = this.#fill(bytes, at, header.size);
      if (this.#length < header.size) return undefined;
      const wrong = this.#complete(header);
      if (wrong !== undefined) return wrong;
    }
    while (at < bytes.length) {
      const left = bytes.length - at;
      if (left < HEADER_BYTES) return this.#begin(bytes, at, HEADER_BYTES, giveDescriptors());
      const header = this.#header(bytes, at);
      if (typeof header === 'string') return header;
      if (left < header.size) return this.#begin(bytes, at, header.size, giveDescriptors());
      const descriptors = left === header.size ? giveDescriptors() : NO_DESCRIPTORS;
      const tooMany = this.#tooMany(descriptors);
      if (tooMany !== undefined) return tooMany;
      // Most answers are a header alone, and a subarray takes 37 ns.
      const payload =
        header.size === HEADER_BYTES ? EMPTY : bytes.subarray(at + HEADER_BYTES, at + header.size);
      const wrong = this.#take(header, payload, descriptors);
      if (wrong !== undefined) return wrong;
      at += header.size;
    }
    return undefined;
  }

  #header(bytes: Uint8Array, at: number): Header | string {
    const header = readHeader(bytes, at);
    if (header === undefined) return 'a message is neither a command nor a reply';
    const { size } = header;
    const { maxMessageBytes } = this.#limits;
    if (size < HEADER_BYTES) return `a message claims ${size} bytes, less than its header`;
    if (size > maxMessageBytes) return `a message claims ${size} bytes, ${maxMessageBytes} are the most`;
    return header;
  }

  /** Keeps the beginning of a message whose rest is still to come. */
  #begin(
    bytes: Uint8Array,
    at: number,
    room: number,
    descriptors: readonly Descriptor[],
  ): string | undefined {
    this.#descriptors = descriptors;
    this.#reserve(room);
    this.#fill(bytes, at, room);
    return this.#tooMany(descriptors);
  }

  #complete(header: Header): string | undefined {
    const descriptors = this.#descriptors;
    this.#descriptors = NO_DESCRIPTORS;
    this.#length = 0;
    return this.#take(header, this.#partial.subarray(HEADER_BYTES, header.size), descriptors);
  }

  #tooMany(descriptors: readonly Descriptor[]): string | undefined {
    const { maxDescriptors } = this.#limits;
    if (descriptors.length <= maxDescriptors) return undefined;
    if (descriptors !== this.#descriptors) releaseAll(descriptors);
    return `${descriptors.length} descriptors came with one message, ${maxDescriptors} are the most`;
  }

  /** Copies from `bytes` until `length` bytes of the message are there; returns where in `bytes` it stopped. */
  #fill(bytes: Uint8Array, at: number, length: number): number {
    const count = Math.min(length - this.#length, bytes.length - at);
    if (count <= 0) return at;
    this.#partial.set(bytes.subarray(at, at + count), this.#length);
    this.#length += count;
    return at + count;
  }

  #reserve(size: number): void {
    if (this.#partial.length >= size) return;
    const grown = new Uint8Array(Math.max(size, 4096));
    grown.set(this.#partial.subarray(0, this.#length));
    this.#partial = grown;
  }
}
