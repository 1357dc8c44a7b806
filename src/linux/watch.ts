import type { PollEvents, PollHandle } from './koffi.ts';
import type { Libc } from './libc.ts';

/** Has the event loop watch one descriptor. */
export class Watch {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #ready: (gone: boolean) => void;
  #handle: PollHandle | undefined;
  #readable = false;
  #writable = false;
  #disconnect = false;
  #armed = false;
  #closed = false;

  /**
   * Watches nothing at first. `ready` is called whenever what is watched for, or an error, is there, again and again
   * while it is, with whether the peer is known to be gone; it must not throw. `fd` stays the caller's, who closes it
   * after this.
   */
  constructor(libc: Libc, fd: number, ready: (gone: boolean) => void) {
    this.#libc = libc;
    this.#fd = fd;
    this.#ready = ready;
  }

  /**
   * Watches for these from now on; `disconnect` is that the peer goes, for whoever does not read. Throws when the event
   * loop cannot watch such a descriptor.
   */
  set(readable: boolean, writable: boolean, disconnect = false): void {
    const isSame =
      readable === this.#readable && writable === this.#writable && disconnect === this.#disconnect;
    if (this.#closed || isSame) return;
    this.#readable = readable;
    this.#writable = writable;
    this.#disconnect = disconnect;
    this.#arm();
  }

  /** Watches no more. */
  close(): void {
    this.#closed = true;
    this.#handle?.close();
    this.#handle = undefined;
  }

  #arm(): void {
    const events = { readable: this.#readable, writable: this.#writable, disconnect: this.#disconnect };
    this.#armed = events.readable || events.writable || events.disconnect;
    if (!this.#armed) this.#handle?.stop();
    else if (this.#handle !== undefined) this.#handle.start(events, this.#called);
    else this.#handle = this.#libc.koffi.node.poll(this.#fd, events, this.#called);
  }

  readonly #called = (status: number, { disconnect }: PollEvents): void => {
    if (this.#closed) return;
    // libuv stops watching a socket whose peer reset it; what still is to be read has to be asked for anew.
    if (status < 0) this.#armed = false;
    this.#ready(status < 0 || disconnect);
    if (!this.#armed && !this.#closed) this.#arm();
    // Node 26 runs no promises after a callback from native code until it runs something of its own.
    setImmediate(nothing);
  };
}

function nothing(): void {}
