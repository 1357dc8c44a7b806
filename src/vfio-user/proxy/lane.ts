import { NO_DESCRIPTORS, type ReplyTaken } from '../command.ts';
import type { Connection } from '../connection.ts';
import { type Descriptor, releaseAll } from '../descriptor.ts';
import type { Channel } from '../channel.ts';

/**
 * Requests on their way at once, and bytes that the peer has not taken, beyond which commands wait here. Both are well
 * below what makes the connection itself hold requests back, so that what is handed to it is sent at once, in order.
 */
const MOST_REQUESTS = 4096;
const MOST_QUEUED_BYTES = 1 << 20;

interface Waiting {
  readonly command: number;
  readonly payload: Uint8Array;
  readonly descriptors: readonly Descriptor[];
  /** Takes the reply; missing for a command that wants none. */
  readonly taken: ReplyTaken | undefined;
  /** Called when a command that wants no reply has been sent. */
  readonly sent: (() => void) | undefined;
}

/** Commands towards one peer, sent in the order in which they came whether they want a reply or not. */
export class Lane {
  readonly #connection: Connection;
  readonly #channel: Channel;
  readonly #changed: (bytes: number) => void;
  #queue: Waiting[] = [];
  #first = 0;
  #bytes = 0;
  #isClosed = false;

  /** `changed` is called with the bytes that wait whenever they change. */
  constructor(connection: Connection, channel: Channel, changed: (bytes: number) => void) {
    this.#connection = connection;
    this.#channel = channel;
    this.#changed = changed;
  }

  /** Roughly what the commands that wait take up, in bytes. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /** Sends a command. Payload and descriptors stay the caller's. `taken` as in {@link Connection.send}. */
  send(command: number, payload: Uint8Array, descriptors: readonly Descriptor[], taken: ReplyTaken): void {
    this.#put({
      command,
      payload,
      descriptors: this.#passable(descriptors),
      sent: undefined,
      taken: (reply) => {
        taken(reply);
        this.pump();
      },
    });
  }

  /** Sends a command that wants no reply; `sent` is called when it is on its way, and not when the connection ends before. */
  post(command: number, payload: Uint8Array, descriptors: readonly Descriptor[], sent: () => void): void {
    this.#put({ command, payload, descriptors: this.#passable(descriptors), sent, taken: undefined });
  }

  /** Sends what waits, as far as there is room. Called when the channel is drained. */
  pump(): void {
    if (this.#first === this.#queue.length || !this.#connection.isOpen) return;
    while (this.#first < this.#queue.length && this.#hasRoom()) {
      const waiting = this.#queue[this.#first++] as Waiting;
      this.#bytes -= costOf(waiting);
      this.#transmit(waiting);
      releaseAll(waiting.descriptors);
    }
    if (this.#first * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#first);
      this.#first = 0;
    }
    this.#changed(this.#bytes);
  }

  /** Forgets what waits. */
  close(): void {
    this.#isClosed = true;
    const waiting = this.#queue.slice(this.#first);
    this.#queue = [];
    this.#first = 0;
    this.#bytes = 0;
    for (const { descriptors } of waiting) releaseAll(descriptors);
  }

  #put(command: Waiting): void {
    if (this.#isClosed || !this.#connection.isOpen) return;
    if (this.#first === this.#queue.length && this.#hasRoom()) {
      this.#transmit(command);
      return;
    }
    for (const descriptor of command.descriptors) descriptor.hold();
    this.#queue.push({ ...command, payload: command.payload.slice() });
    this.#bytes += costOf(command);
    this.#changed(this.#bytes);
  }

  #transmit({ command, payload, descriptors, taken, sent }: Waiting): void {
    if (taken !== undefined) {
      this.#connection.send(command, payload, descriptors, taken);
      return;
    }
    this.#connection.post(command, payload, descriptors);
    sent?.();
  }

  #hasRoom(): boolean {
    return this.#connection.outstanding < MOST_REQUESTS && this.#channel.queuedBytes < MOST_QUEUED_BYTES;
  }

  /** Descriptors that the channel can carry: where it cannot, the receiver does without, as the specification lets it. */
  #passable(descriptors: readonly Descriptor[]): readonly Descriptor[] {
    return this.#connection.passesDescriptors ? descriptors : NO_DESCRIPTORS;
  }
}

/** What a command that waits takes up, roughly; descriptors are dear, for a process has few. */
function costOf({ payload, descriptors }: Waiting): number {
  return 128 + payload.length + 65_536 * descriptors.length;
}
