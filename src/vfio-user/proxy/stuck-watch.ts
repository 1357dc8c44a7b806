import type { Channel } from '../channel.ts';
import type { Timers } from '../platform.ts';

/** Milliseconds for which a peer that has much to read may read nothing. */
const STUCK_MS = 30_000;

/**
 * Finds out that a peer takes nothing any more while somebody else waits for that. Whoever waits is not read meanwhile,
 * so not even its own end would be noticed.
 */
export class StuckWatch {
  readonly #channel: Channel;
  readonly #timers: Timers | undefined;
  readonly #isWaitedFor: () => boolean;
  readonly #stuck: (why: string) => void;
  #timer: { cancel(): void } | undefined;
  #drained = false;
  #isOver = false;

  /**
   * Without `timers` it never finds anything.
   *
   * @param isWaitedFor whether somebody waits for the peer to read
   * @param stuck called with what completes "the peer ..."
   */
  constructor(
    channel: Channel,
    timers: Timers | undefined,
    isWaitedFor: () => boolean,
    stuck: (why: string) => void,
  ) {
    this.#channel = channel;
    this.#timers = timers;
    this.#isWaitedFor = isWaitedFor;
    this.#stuck = stuck;
  }

  /** Somebody may be waiting for the peer from now on. */
  begin(): void {
    if (this.#isOver || this.#timer !== undefined || this.#timers === undefined) return;
    const before = this.#channel.queuedBytes;
    this.#drained = false;
    this.#timer = this.#timers.after(STUCK_MS, () => {
      this.#timer = undefined;
      if (!this.#isWaitedFor()) return;
      if (this.#drained || this.#channel.queuedBytes !== before) this.begin();
      else this.#stuck(`has read nothing for ${STUCK_MS / 1000} s`);
    });
  }

  /** The peer has taken all that there was. */
  drained(): void {
    this.#drained = true;
  }

  /** It watches no more. */
  end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
  }
}
