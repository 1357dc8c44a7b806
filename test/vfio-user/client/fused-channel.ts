import type { Channel, ChannelListener } from '../../../src/vfio-user/channel.ts';
import { type Descriptor, releaseAll } from '../../../src/vfio-user/descriptor.ts';
import type { MemoryChannel } from '../memory-channel.ts';

/** One end of a pair that breaks when it has received so many bytes since `light` was called. */
export class FusedChannel implements Channel {
  readonly #inner: MemoryChannel;
  #left = Number.POSITIVE_INFINITY;

  constructor(inner: MemoryChannel) {
    this.#inner = inner;
  }

  get passesDescriptors(): boolean {
    return this.#inner.passesDescriptors;
  }

  get queuedBytes(): number {
    return this.#inner.queuedBytes;
  }

  /** Breaks after `bytes` more bytes; at once when they are none. */
  light(bytes: number): void {
    this.#left = bytes;
    if (bytes === 0) this.#inner.fail(new Error('the fuse burnt down'));
  }

  start(listener: ChannelListener): void {
    this.#inner.start({
      received: (bytes, descriptors) => this.#received(listener, bytes, descriptors),
      idle: () => listener.idle(),
      drained: () => listener.drained(),
      closed: (error) => listener.closed(error),
    });
  }

  send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void {
    this.#inner.send(bytes, descriptors);
  }

  pause(): void {
    this.#inner.pause();
  }

  resume(): void {
    this.#inner.resume();
  }

  close(discard?: boolean): void {
    this.#inner.close(discard);
  }

  #received(listener: ChannelListener, bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    const count = Math.min(bytes.length, this.#left);
    this.#left -= count;
    if (count > 0) listener.received(bytes.subarray(0, count), descriptors);
    else releaseAll(descriptors);
    if (this.#left === 0) this.#inner.fail(new Error('the fuse burnt down'));
  }
}
