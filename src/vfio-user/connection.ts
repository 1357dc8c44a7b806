import type { Channel, ChannelListener } from './channel.ts';
import { type CloseReason, ConnectionLostError } from './close-reason.ts';
import { EMPTY, type IncomingCommand, NO_DESCRIPTORS, type Reply, type ReplyTaken } from './command.ts';
import { type Descriptor, releaseAll } from './descriptor.ts';
import { type FrameLimits, FrameReader } from './frame-reader.ts';
import { Outbox, type OutgoingHeader } from './outbox.ts';
import { PendingRequests } from './pending-requests.ts';
import type { Timers } from './platform.ts';
import { type Answer, ReceivedCommand } from './received-command.ts';
import {
  commandName,
  DEFAULT_MAX_DATA_XFER_SIZE,
  DEFAULT_MAX_MSG_FDS,
  Errno,
  type Header,
} from './wire/index.ts';

/** How a connection is used, and what it puts up with. */
export interface ConnectionOptions {
  /** The peer's name for people. */
  readonly name: string;
  /** Takes each command of the peer, in the order in which they came. Must not throw. */
  readonly onCommand: (command: IncomingCommand) => void;
  /** Everything that had arrived has been handed over. */
  readonly onIdle?: () => void;
  /** Largest message in bytes, header included; 1 MiB of data and 4 KiB when left out. */
  readonly maxMessageBytes?: number;
  /** Descriptors with one message; 16 when left out. */
  readonly maxDescriptors?: number;
  /** Commands that may wait for their answer before further ones are held back; 1,024 when left out. */
  readonly maxUnanswered?: number;
  /** When the peer has neither answered a request nor read anything for so long, the connection is over. Without it, it may take forever. */
  readonly requestTimeout?: { readonly timers: Timers; readonly milliseconds: number };
}

/** Room in a message beside its data. */
const MESSAGE_OVERHEAD = 4096;
/** While more than this waits for the peer to read it, the peer's commands and our requests are held back. */
const QUEUED_BYTES = 4 << 20;
/** While commands of this size are unanswered, further ones are held back. */
const UNANSWERED_BYTES = 4 << 20;
/** When commands of this size are held back, reading stops. */
const HELD_BACK_BYTES = 4 << 20;
/** A descriptor that is held back counts as so many bytes: a process has few of them. */
const DESCRIPTOR_BYTES = 65_536;
/** Requests on their way at once: identifiers are 16 bits wide, and this many fill any pipe. */
const MAX_REQUESTS = 8192;

interface HeldBack {
  readonly header: Header;
  readonly payload: Uint8Array;
  readonly descriptors: readonly Descriptor[];
}

interface Outgoing {
  readonly command: number;
  readonly payload: Uint8Array;
  readonly descriptors: readonly Descriptor[];
  /** Missing when no reply is wanted. */
  readonly taken: ReplyTaken | undefined;
}

/**
 * One end of a vfio-user connection: messages with identifiers, answers to both sides' commands, and limits for what a
 * peer may do. Both directions carry commands; what they mean is the owner's business.
 *
 * Commands beyond the limits are held back, then reading stops, so a peer that floods waits for itself. Replies pass
 * what is held back: two peers that both have much to send cannot block each other.
 */
export class Connection {
  readonly name: string;
  /** Whether descriptors can be sent and received. */
  readonly passesDescriptors: boolean;
  /** Resolves when the connection is over; never rejects. */
  readonly closed: Promise<CloseReason>;
  readonly #channel: Channel;
  readonly #options: ConnectionOptions;
  readonly #limits: FrameLimits;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  readonly #pending: PendingRequests = new PendingRequests();
  /** Filled in for each message: one object for all saves one each. */
  readonly #header: OutgoingHeader = {
    id: 0,
    command: 0,
    size: 0,
    type: 'command',
    noReply: false,
    errno: 0,
  };
  /** Requests for which there is no room on the way yet. */
  #waiting: Outgoing[] = [];
  #firstWaiting = 0;
  #unanswered = 0;
  #unansweredBytes = 0;
  /** Commands that were handed over and not answered at once. */
  readonly #postponed: Set<Header> = new Set();
  #heldBack: HeldBack[] = [];
  #heldBackBytes = 0;
  #dispatching = false;
  #paused = false;
  #receiving = false;
  #flushing = false;
  #end: CloseReason | undefined;
  #resolveClosed!: (reason: CloseReason) => void;
  /** Whether the peer did anything since the watch last looked. */
  #progress = false;
  #watch: { cancel(): void } | undefined;
  /** Bytes that waited for the peer when the watch last looked. */
  #watchedBytes = 0;

  /** Begins to read at once. The channel belongs to the connection from now on. */
  constructor(channel: Channel, options: ConnectionOptions) {
    this.name = options.name;
    this.passesDescriptors = channel.passesDescriptors;
    this.#channel = channel;
    this.#options = options;
    this.#limits = {
      maxMessageBytes: options.maxMessageBytes ?? DEFAULT_MAX_DATA_XFER_SIZE + MESSAGE_OVERHEAD,
      maxDescriptors: options.maxDescriptors ?? DEFAULT_MAX_MSG_FDS,
    };
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#outbox = new Outbox(channel);
    this.#reader = new FrameReader(this.#limits, (header, payload, descriptors) =>
      this.#message(header, payload, descriptors),
    );
    channel.start(this.#listener());
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** Commands of the peer that have not been answered here, those held back included. */
  get unanswered(): number {
    return this.#unanswered + this.#heldBack.length;
  }

  /** Requests that the peer has not answered. */
  get outstanding(): number {
    return this.#pending.size + this.#waiting.length - this.#firstWaiting;
  }

  /** Largest message in bytes that the peer may send, header included. */
  get maxMessageBytes(): number {
    return this.#limits.maxMessageBytes;
  }

  set maxMessageBytes(bytes: number) {
    this.#limits.maxMessageBytes = bytes;
  }

  /** Sends a command. Rejects with ConnectionLostError when the connection ends before the answer. */
  request(
    command: number,
    payload: Uint8Array = EMPTY,
    descriptors: readonly Descriptor[] = NO_DESCRIPTORS,
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.send(command, payload, descriptors, (reply) => {
        if (reply !== undefined) resolve(reply);
        else reject(new ConnectionLostError(this.name, this.#end as CloseReason));
      });
    });
  }

  /**
   * Sends a command; for pipelines, without a promise for each. `payload` must stay unchanged until `taken` is called
   * with the answer, or with undefined when the connection ended first; if it has ended already, that is at once.
   * Descriptors are held until they are sent.
   */
  send(
    command: number,
    payload: Uint8Array | undefined,
    descriptors: readonly Descriptor[] | undefined,
    taken: ReplyTaken,
  ): void {
    if (this.#end !== undefined) {
      taken(undefined);
      return;
    }
    this.#submit({ command, payload: payload ?? EMPTY, descriptors: descriptors ?? NO_DESCRIPTORS, taken });
  }

  /** Sends a command for which no answer is wanted; as `send` in all else. */
  post(
    command: number,
    payload: Uint8Array = EMPTY,
    descriptors: readonly Descriptor[] = NO_DESCRIPTORS,
  ): void {
    if (this.#end === undefined) this.#submit({ command, payload, descriptors, taken: undefined });
  }

  /** Sends what was collected; without it that happens at the end of the turn. */
  flush(): void {
    this.#outbox.flush();
  }

  /**
   * Ends the connection. Commands of the peer that wait for their answer are refused with ENODEV: QEMU aborts when one of
   * its own gets none. What was sent still goes out, unless the peer takes longer than the request timeout to read it.
   */
  close(reason: string): void {
    if (this.#end !== undefined) return;
    for (const header of this.#postponed) this.#putAnswer(header, Errno.ENODEV, EMPTY, NO_DESCRIPTORS);
    for (const { header } of this.#heldBack) this.#putAnswer(header, Errno.ENODEV, EMPTY, NO_DESCRIPTORS);
    this.#outbox.flush();
    this.#finish({ kind: 'closed-here', message: reason });
    this.#channel.close();
    const timeout = this.#options.requestTimeout;
    if (timeout === undefined || this.#channel.queuedBytes === 0) return;
    this.#watch = timeout.timers.after(timeout.milliseconds, () => this.#channel.close(true));
  }

  #listener(): ChannelListener {
    return {
      received: (bytes, descriptors) => this.#received(bytes, descriptors),
      idle: () => this.#idle(),
      drained: () => this.#drained(),
      closed: (error) => this.#channelClosed(error),
    };
  }

  #received(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    if (this.#end !== undefined) {
      releaseAll(descriptors);
      return;
    }
    this.#receiving = true;
    const wrong = this.#reader.push(bytes, descriptors);
    this.#receiving = false;
    if (wrong !== undefined)
      this.#abort({ kind: 'protocol-error', message: `${this.name} broke the protocol: ${wrong}` });
  }

  #idle(): void {
    this.#options.onIdle?.();
    this.#outbox.flush();
  }

  #drained(): void {
    this.#progress = true;
    this.#transmitWaiting();
    this.#dispatchHeldBack();
    this.#outbox.flush();
  }

  #channelClosed(error: Error | undefined): void {
    this.#watch?.cancel();
    const pending = this.#reader.pendingBytes;
    const middle = pending > 0 ? `, ${pending} bytes into a message` : '';
    if (error === undefined) {
      this.#finish({ kind: 'closed-by-peer', message: `${this.name} closed the connection${middle}` });
    } else {
      this.#finish({
        kind: 'failed',
        message: `the connection to ${this.name} failed: ${error.message}`,
        error,
      });
    }
  }

  /** A reason when the message must not have been sent. */
  #message(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[]): string | undefined {
    if (this.#end !== undefined) {
      releaseAll(descriptors);
      return undefined;
    }
    if (header.type === 'reply') return this.#reply(header, payload, descriptors);
    if (this.#heldBack.length === 0 && !this.#overloaded()) {
      this.#dispatch(header, payload, descriptors);
      return undefined;
    }
    this.#heldBack.push({ header, payload: payload.slice(), descriptors });
    this.#heldBackBytes += costOf(header, descriptors);
    if (this.#heldBackBytes > HELD_BACK_BYTES && !this.#paused) {
      this.#paused = true;
      this.#channel.pause();
    }
    return undefined;
  }

  #reply(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[]): string | undefined {
    const request = this.#pending.take(header.id, header.command);
    if (request === undefined) {
      releaseAll(descriptors);
      return `a reply to ${commandName(header.command)} that nobody asked for (message ${header.id})`;
    }
    this.#progress = true;
    if (header.errno !== 0) {
      releaseAll(descriptors);
      request.taken({ errno: header.errno, payload: EMPTY, descriptors: NO_DESCRIPTORS });
    } else {
      request.taken({ errno: 0, payload: payload.length === 0 ? EMPTY : payload.slice(), descriptors });
    }
    this.#transmitWaiting();
    return undefined;
  }

  #overloaded(): boolean {
    return (
      this.#unanswered >= (this.#options.maxUnanswered ?? 1024) ||
      this.#unansweredBytes > UNANSWERED_BYTES ||
      this.#outbox.queuedBytes > QUEUED_BYTES
    );
  }

  #dispatch(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#unanswered++;
    this.#unansweredBytes += header.size;
    const received = new ReceivedCommand(header, payload, descriptors, this.#answer);
    this.#options.onCommand(received);
    if (!received.answered) this.#postponed.add(header);
  }

  readonly #answer: Answer = (header, errno, payload, descriptors) => {
    this.#unanswered--;
    this.#unansweredBytes -= header.size;
    this.#postponed.delete(header);
    if (this.#end !== undefined) return;
    this.#putAnswer(header, errno, payload, descriptors);
    if (this.#heldBack.length > 0) this.#dispatchHeldBack();
  };

  #putAnswer(
    { id, command, noReply }: Header,
    errno: number,
    payload: Uint8Array,
    descriptors: readonly Descriptor[],
  ): void {
    if (noReply) return;
    this.#setHeader(id, command, 'reply', false, errno);
    this.#put(payload, descriptors);
  }

  #dispatchHeldBack(): void {
    // Answers that are given at once lead here again, from below: one of these loops is enough.
    if (this.#dispatching) return;
    this.#dispatching = true;
    let next = 0;
    while (next < this.#heldBack.length && !this.#overloaded() && this.#end === undefined) {
      const { header, payload, descriptors } = this.#heldBack[next++] as HeldBack;
      this.#heldBackBytes -= costOf(header, descriptors);
      this.#dispatch(header, payload, descriptors);
    }
    this.#heldBack.splice(0, next);
    this.#dispatching = false;
    if (this.#paused && this.#heldBackBytes < HELD_BACK_BYTES / 2) {
      this.#paused = false;
      this.#channel.resume();
    }
  }

  /** Transmits in the order in which commands were submitted: what comes later never overtakes what waits. */
  #submit(outgoing: Outgoing): void {
    if (this.#firstWaiting === this.#waiting.length && this.#roomForRequest()) {
      this.#transmit(outgoing);
      return;
    }
    for (const descriptor of outgoing.descriptors) descriptor.hold();
    this.#waiting.push(outgoing);
    this.#startWatch();
  }

  #roomForRequest(): boolean {
    return this.#pending.size < MAX_REQUESTS && this.#outbox.queuedBytes <= QUEUED_BYTES;
  }

  #transmitWaiting(): void {
    while (this.#firstWaiting < this.#waiting.length && this.#roomForRequest()) {
      const request = this.#waiting[this.#firstWaiting++] as Outgoing;
      this.#transmit(request);
      releaseAll(request.descriptors);
    }
    if (this.#firstWaiting * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#firstWaiting);
      this.#firstWaiting = 0;
    }
  }

  #transmit({ command, payload, descriptors, taken }: Outgoing): void {
    const id = this.#pending.nextId();
    if (taken !== undefined) this.#pending.add(id, { command, taken });
    this.#startWatch();
    this.#setHeader(id, command, 'command', taken === undefined, 0);
    this.#put(payload, descriptors);
  }

  #setHeader(id: number, command: number, type: Header['type'], noReply: boolean, errno: number): void {
    const header = this.#header;
    header.id = id;
    header.command = command;
    header.type = type;
    header.noReply = noReply;
    header.errno = errno;
  }

  /** Sends what `#header` says. */
  #put(payload: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#outbox.put(this.#header, payload, descriptors);
    if (this.#outbox.queuedBytes > 0) this.#startWatch();
    // While something arrives, the end of it is the moment to send.
    if (this.#receiving || this.#flushing || !this.#outbox.waiting) return;
    this.#flushing = true;
    void this.#flushSoon();
  }

  async #flushSoon(): Promise<void> {
    await Promise.resolve();
    this.#flushing = false;
    this.#outbox.flush();
  }

  #startWatch(): void {
    const timeout = this.#options.requestTimeout;
    if (timeout === undefined || this.#watch !== undefined || this.#end !== undefined) return;
    this.#progress = false;
    this.#watchedBytes = this.#outbox.queuedBytes;
    this.#watch = timeout.timers.after(timeout.milliseconds, () => {
      this.#watch = undefined;
      const queued = this.#outbox.queuedBytes;
      if (this.outstanding === 0 && queued === 0) return;
      if (this.#progress || queued < this.#watchedBytes) {
        this.#startWatch();
        return;
      }
      const what =
        this.outstanding > 0
          ? `answered none of ${this.outstanding} requests`
          : `read none of ${queued} bytes`;
      this.#abort({ kind: 'timeout', message: `${this.name} has ${what} for ${timeout.milliseconds} ms` });
    });
  }

  #abort(reason: CloseReason): void {
    this.#finish(reason);
    this.#channel.close(true);
  }

  #finish(reason: CloseReason): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    this.#watch?.cancel();
    this.#reader.discard();
    for (const { descriptors } of this.#heldBack) releaseAll(descriptors);
    this.#heldBack = [];
    const waiting = this.#waiting.slice(this.#firstWaiting);
    this.#waiting = [];
    this.#firstWaiting = 0;
    for (const { taken } of this.#pending.clear()) taken(undefined);
    for (const { descriptors, taken } of waiting) {
      releaseAll(descriptors);
      taken?.(undefined);
    }
    this.#resolveClosed(reason);
  }
}

function costOf(header: Header, descriptors: readonly Descriptor[]): number {
  return header.size + descriptors.length * DESCRIPTOR_BYTES;
}
