import type { Timers } from './platform.ts';

/** The connection to the peer that is watched. */
export interface Watched {
  /** Requests that the peer has not answered. */
  outstanding(): number;
  /** Bytes that the peer has not read. */
  queuedBytes(): number;
  /** The peer has done nothing for so long; `what` it has not done, to follow its name. Called once. */
  silent(what: string): void;
}

/** Finds out when a peer neither answers nor reads any more. It looks only while the peer has something to do. */
export class PeerWatch {
  readonly #watched: Watched;
  readonly #timers: Timers | undefined;
  readonly #milliseconds: number | undefined;
  #timer: { cancel(): void } | undefined;
  #cancelled = false;
  /** Whether the peer did anything since the last look, and the bytes that it had not read then. */
  #progress = false;
  #unread = 0;

  /** Looks every so many milliseconds; never without timers or without a time. */
  constructor(watched: Watched, timers: Timers | undefined, milliseconds: number | undefined) {
    this.#watched = watched;
    this.#timers = timers;
    this.#milliseconds = milliseconds;
  }

  /** The peer has something to do. */
  start(): void {
    if (this.#timer !== undefined || this.#cancelled) return;
    if (this.#timers === undefined || this.#milliseconds === undefined) return;
    this.#progress = false;
    this.#unread = this.#watched.queuedBytes();
    this.#timer = this.#timers.after(this.#milliseconds, () => this.#look());
  }

  /** The peer did something. */
  progress(): void {
    this.#progress = true;
  }

  /** Looks no more. */
  cancel(): void {
    this.#cancelled = true;
    this.#timer?.cancel();
  }

  #look(): void {
    this.#timer = undefined;
    const outstanding = this.#watched.outstanding();
    const queuedBytes = this.#watched.queuedBytes();
    if (outstanding === 0 && queuedBytes === 0) return;
    if (this.#progress || queuedBytes < this.#unread) {
      this.start();
      return;
    }
    const what =
      outstanding > 0 ? `answered none of ${outstanding} requests` : `read none of ${queuedBytes} bytes`;
    this.#watched.silent(`has ${what} for ${this.#milliseconds} ms`);
  }
}
