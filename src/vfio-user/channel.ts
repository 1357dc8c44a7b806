import type { Descriptor } from './descriptor.ts';

/** Hears what comes through a channel. Must not throw. */
export interface ChannelListener {
  /**
   * Bytes arrived. They are the listener's only during the call. Descriptors are the listener's: it releases each.
   * They belong to the last message that begins in `bytes`.
   */
  received(bytes: Uint8Array, descriptors: readonly Descriptor[]): void;
  /** Everything that had arrived has been handed over: a good moment to send what was collected. */
  idle(): void;
  /** `queuedBytes` came down to 0 after it was not. Not called from inside `send`. */
  drained(): void;
  /** The channel is over; called once, after everything else. `error` is missing when the peer, or `close`, ended it. */
  closed(error?: Error): void;
}

/** A stream of bytes to one peer, with descriptors where the system can pass them: a UNIX stream socket, or memory in tests. */
export interface Channel {
  /** Whether descriptors can be sent and received. */
  readonly passesDescriptors: boolean;
  /** Bytes that were sent and that the peer's side has not taken yet. */
  readonly queuedBytes: number;
  /** Begins to read. Called once; nothing arrives before. */
  start(listener: ChannelListener): void;
  /**
   * Sends bytes, which the caller may reuse when the call returns. `descriptors` go with the first byte; the channel
   * holds them until they are sent. Never blocks; after the end it does nothing.
   */
  send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void;
  /**
   * Stops reading until `resume`; what was read already may still arrive. A peer that goes meanwhile may end the channel at
   * once, and then what was not read is lost.
   */
  pause(): void;
  resume(): void;
  /** Ends the channel when what was sent is taken, at once with `discard`. Nothing is received any more. */
  close(discard?: boolean): void;
}
