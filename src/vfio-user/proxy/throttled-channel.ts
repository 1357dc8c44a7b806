import type { Channel, ChannelListener } from '../channel.ts';
import type { Descriptor } from '../descriptor.ts';

/** A channel whose reading several have a say in, and that tells one more when all that was sent has been taken, and of its end. */
export class ThrottledChannel implements Channel {
  /** Called after the listener's `drained`. */
  onDrained: () => void = () => {};
  /** Called after the listener's `closed`. */
  onClosed: () => void = () => {};
  readonly #channel: Channel;
  readonly #throttles: Set<string> = new Set();

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  get passesDescriptors(): boolean {
    return this.#channel.passesDescriptors;
  }

  get queuedBytes(): number {
    return this.#channel.queuedBytes;
  }

  start(listener: ChannelListener): void {
    this.#channel.start({
      received: (bytes, descriptors) => listener.received(bytes, descriptors),
      idle: () => listener.idle(),
      drained: () => {
        listener.drained();
        this.onDrained();
      },
      closed: (error) => {
        listener.closed(error);
        this.onClosed();
      },
    });
  }

  send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void {
    this.#channel.send(bytes, descriptors);
  }

  pause(): void {
    this.throttle('paused');
  }

  resume(): void {
    this.unthrottle('paused');
  }

  /** Stops reading for `reason`; it goes on when no reason is left. */
  throttle(reason: string): void {
    if (this.#throttles.size === 0) this.#channel.pause();
    this.#throttles.add(reason);
  }

  /** `reason` is over, if it was there. */
  unthrottle(reason: string): void {
    if (this.#throttles.delete(reason) && this.#throttles.size === 0) this.#channel.resume();
  }

  close(discard?: boolean): void {
    this.#channel.close(discard);
  }
}
