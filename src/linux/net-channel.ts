import type { Socket } from 'node:net';
import type { Channel, ChannelListener, Descriptor } from '../vfio-user/index.ts';

const NONE: readonly Descriptor[] = [];
/** How a peer ends a connection when it goes without reading all of it. */
const PEER_LEFT: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

/** A socket of node:net, for where there is no koffi. The kernel closes descriptors that a peer sends to it. */
export class NetChannel implements Channel {
  readonly passesDescriptors = false;
  readonly #socket: Socket;
  #listener: ChannelListener | undefined;
  #open = true;
  #error: Error | undefined;

  /** Over a connected socket, which belongs to the channel from now on. */
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.pause();
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!PEER_LEFT.has(error.code ?? '')) this.#error ??= error;
    });
    socket.on('close', () => {
      this.#open = false;
      this.#listener?.closed(this.#error);
    });
  }

  get queuedBytes(): number {
    return this.#open ? this.#socket.writableLength : 0;
  }

  start(listener: ChannelListener): void {
    if (this.#listener !== undefined) throw new Error('a channel is started once');
    this.#listener = listener;
    if (this.#socket.closed) {
      queueMicrotask(() => listener.closed(this.#error));
      return;
    }
    this.#socket.on('data', (bytes: Buffer) => {
      if (!this.#open) return;
      this.#guarded((to) => {
        to.received(bytes, NONE);
        if (this.#open) to.idle();
      });
    });
    this.#socket.resume();
  }

  /** Throws when there are descriptors: `passesDescriptors` is false. */
  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = NONE): void {
    if (descriptors.length > 0) throw new Error('this channel passes no descriptors');
    if (this.#open && bytes.length > 0) this.#socket.write(bytes.slice(), this.#written);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (this.#listener !== undefined && this.#open) this.#socket.resume();
  }

  close(discard = false): void {
    if (discard) {
      this.#open = false;
      this.#socket.destroy();
    } else if (this.#open) {
      this.#open = false;
      this.#socket.end(() => this.#socket.destroy());
    }
  }

  readonly #written = (error?: Error | null): void => {
    if (!error && this.#open && this.#socket.writableLength === 0) {
      this.#guarded((listener) => listener.drained());
    }
  };

  /** A listener must not throw; if it does, only its own connection pays for it. */
  #guarded(call: (listener: ChannelListener) => void): void {
    try {
      if (this.#listener !== undefined) call(this.#listener);
    } catch (error) {
      this.#error = error instanceof Error ? error : new Error(String(error));
      this.close(true);
    }
  }
}
