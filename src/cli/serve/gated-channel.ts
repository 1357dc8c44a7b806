import type { Channel, ChannelListener, Descriptor } from '../../vfio-user/index.ts';

/** A channel that somebody beside its reader can pause: it is read only while neither wants it to rest. */
export class GatedChannel implements Channel {
  readonly #channel: Channel;
  readonly #ended: () => void;
  #pausedByReader = false;
  #shut = false;
  #started = false;

  /** @param ended called once when the channel is over, after its reader has heard of it */
  constructor(channel: Channel, ended: () => void) {
    this.#channel = channel;
    this.#ended = ended;
  }

  get passesDescriptors(): boolean {
    return this.#channel.passesDescriptors;
  }

  get queuedBytes(): number {
    return this.#channel.queuedBytes;
  }

  /** Shut, nothing more is read until it is opened; what was read already may still arrive. */
  setShut(shut: boolean): void {
    if (this.#shut === shut) return;
    const rested = this.#rests;
    this.#shut = shut;
    this.#apply(rested);
  }

  start(listener: ChannelListener): void {
    this.#channel.start({
      received: (bytes, descriptors) => listener.received(bytes, descriptors),
      idle: () => listener.idle(),
      drained: () => listener.drained(),
      closed: (error) => {
        listener.closed(error);
        this.#ended();
      },
    });
    this.#started = true;
    this.#apply(false);
  }

  send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void {
    this.#channel.send(bytes, descriptors);
  }

  pause(): void {
    const rested = this.#rests;
    this.#pausedByReader = true;
    this.#apply(rested);
  }

  resume(): void {
    const rested = this.#rests;
    this.#pausedByReader = false;
    this.#apply(rested);
  }

  close(discard?: boolean): void {
    this.#channel.close(discard);
  }

  get #rests(): boolean {
    return this.#pausedByReader || this.#shut;
  }

  #apply(rested: boolean): void {
    if (!this.#started || this.#rests === rested) return;
    if (this.#rests) this.#channel.pause();
    else this.#channel.resume();
  }
}
