import type { Channel } from './channel.ts';
import type { Timers } from './platform.ts';

/** A peer that has sent nothing for so many milliseconds has noticed. */
const QUIET = 50;
/** So many milliseconds are enough for any peer. */
const LONGEST = 2000;

/**
 * Closes a channel, if it is to linger when the peer has become quiet. Commands that come until then can still be refused: a peer in the
 * middle of a pipeline is better told no than met with an end, on which QEMU aborts.
 */
export class Farewell {
  readonly #channel: Channel;
  readonly #timers: Timers;
  readonly #read: number;
  #left = LONGEST;
  #heard = false;
  #timer: { cancel(): void } | undefined;

  /** `read`: milliseconds that the peer has to read what was sent, before it is thrown away. */
  constructor(channel: Channel, timers: Timers, read: number, lingers: boolean) {
    this.#channel = channel;
    this.#timers = timers;
    this.#read = read;
    if (lingers) this.#wait();
    else this.#close();
  }

  /** The peer sent something. */
  heard(): void {
    this.#heard = true;
  }

  /** The channel is over. */
  cancel(): void {
    this.#timer?.cancel();
  }

  #wait(): void {
    this.#timer = this.#timers.after(QUIET, () => {
      this.#left -= QUIET;
      if (this.#heard && this.#left > 0) {
        this.#heard = false;
        this.#wait();
      } else {
        this.#close();
      }
    });
  }

  #close(): void {
    this.#channel.close();
    if (this.#channel.queuedBytes === 0) return;
    this.#timer = this.#timers.after(this.#read, () => this.#channel.close(true));
  }
}
