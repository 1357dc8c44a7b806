import type { Channel, ChannelListener } from './channel.ts';
import { type CloseReason, ConnectionLostError } from './close-reason.ts';
import {
  DONE,
  EMPTY,
  type IncomingCommand,
  NO_DESCRIPTORS,
  type Reply,
  type TaggedReplyTaken,
} from './command.ts';
import { type Descriptor, releaseAll } from './descriptor.ts';
import { Farewell } from './farewell.ts';
import { Fifo } from './fifo.ts';
import { type FrameLimits, FrameReader } from './frame-reader.ts';
import { Outbox, type OutgoingHeader } from './outbox.ts';
import { type CommandsOwner, PeerCommands } from './peer-commands.ts';
import { PeerWatch, type Watched } from './peer-watch.ts';
import { PendingRequests } from './pending-requests.ts';
import type { Timers } from './platform.ts';
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
  /** The peer has read everything: see {@link Connection.isCongested}. */
  readonly onDrained?: () => void;
  /** Largest message in bytes, header included; 1 MiB of data and 4 KiB when left out. */
  readonly maxMessageBytes?: number;
  /** Descriptors with one message; 16 when left out. */
  readonly maxDescriptors?: number;
  /** Commands that may wait for their answer before further ones are held back; 1,024 when left out. */
  readonly maxUnanswered?: number;
  /** For `requestTimeout` and `lingers`. */
  readonly timers?: Timers | undefined;
  /** Whether a close waits, with timers, until the peer sends nothing more, and refuses what comes until then. */
  readonly lingers?: boolean;
  /**
   * When the peer has neither answered a request nor read anything for so many milliseconds, the connection is over.
   * Without it, or without timers, it may take forever.
   */
  readonly requestTimeout?: number | undefined;
}

/** Room in a message beside its data. */
const MESSAGE_OVERHEAD = 4096;
/** While more than this waits for the peer to read it, the peer's commands and our requests are held back. */
const QUEUED_BYTES = 4 << 20;
/** Commands that may wait for their answer, unless the owner says otherwise. */
const MAX_UNANSWERED = 1024;
/** Milliseconds that a peer has to read the last answers where there is no request timeout. */
const LAST_BYTES_READ = 5000;
/** Requests on their way at once: half of the identifiers, which are 16 bits wide, so that a free one is near. */
const MAX_REQUESTS = 32_768;

interface Outgoing {
  readonly command: number;
  readonly payload: Uint8Array;
  readonly descriptors: readonly Descriptor[];
  /** Missing when no reply is wanted. */
  readonly taken: TaggedReplyTaken | undefined;
  readonly tag: number;
  readonly isWanted?: (() => boolean) | undefined;
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
  readonly #waiting: Fifo<Outgoing> = new Fifo();
  readonly #commands: PeerCommands;
  readonly #watch: PeerWatch;
  #receiving = false;
  #flushing = false;
  #end: CloseReason | undefined;
  /** Once this side has ended the connection, until the channel is closed. */
  #farewell: Farewell | undefined;
  #resolveClosed!: (reason: CloseReason) => void;
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
    this.#commands = new PeerCommands(this.#commandsOwner(), options.maxUnanswered ?? MAX_UNANSWERED);
    this.#watch = new PeerWatch(this.#watched(), options.timers, options.requestTimeout);
    channel.start(this.#listener());
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** Commands of the peer that have not been answered here, those held back included. */
  get unanswered(): number {
    return this.#commands.unanswered;
  }

  /** Requests that the peer has not answered. */
  get outstanding(): number {
    return this.#pending.size + this.#waiting.length;
  }

  /** Whether so much waits for the peer to read it that large answers had better wait too: until `onDrained` is called. */
  get isCongested(): boolean {
    return this.#outbox.queuedBytes > QUEUED_BYTES;
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
   * Sends a command; for pipelines, without a promise for each. `payload` may be reused when this returns.
   * `taken` is called with the answer, or with undefined when the connection ended first; if it has ended already, that
   * is at once. Descriptors are held until they are sent. One that had to wait for room is sent only if it `isWanted` then; `taken`
   * is called with undefined otherwise. `tag` is handed to `taken`, which can then be the same for many.
   */
  send(
    command: number,
    payload: Uint8Array | undefined,
    descriptors: readonly Descriptor[] | undefined,
    taken: TaggedReplyTaken,
    isWanted?: () => boolean,
    tag: number = 0,
  ): void {
    if (this.#end !== undefined) {
      taken(undefined, tag);
      return;
    }
    this.#submit(command, payload ?? EMPTY, descriptors ?? NO_DESCRIPTORS, taken, tag, isWanted);
  }

  /** Sends a command for which no answer is wanted; as `send` in all else. */
  post(
    command: number,
    payload: Uint8Array = EMPTY,
    descriptors: readonly Descriptor[] = NO_DESCRIPTORS,
  ): void {
    if (this.#end === undefined) this.#submit(command, payload, descriptors, undefined, 0);
  }

  /** Sends what was collected; without it that happens at the end of the turn. */
  flush(): void {
    this.#outbox.flush();
  }

  /**
   * Ends the connection. Commands of the peer that wait for their answer are refused with ENODEV, and so are those that
   * still come while it lingers: QEMU aborts when one of its own gets no answer. What was sent still goes out, unless the
   * peer takes longer than the request timeout to read it.
   */
  close(reason: string): void {
    if (this.#end !== undefined) return;
    this.#commands.refuseAll(Errno.ENODEV);
    this.#outbox.flush();
    this.#finish({ kind: 'closed-here', message: reason });
    const { timers, requestTimeout = LAST_BYTES_READ, lingers = false } = this.#options;
    if (timers === undefined) this.#channel.close();
    else this.#farewell = new Farewell(this.#channel, timers, requestTimeout, lingers);
  }

  #commandsOwner(): CommandsOwner {
    return {
      isOpen: () => this.isOpen,
      isCongested: () => this.isCongested,
      onCommand: (command) => this.#options.onCommand(command),
      answer: (header, errno, payload, descriptors) => this.#putAnswer(header, errno, payload, descriptors),
      setPaused: (paused) => (paused ? this.#channel.pause() : this.#channel.resume()),
    };
  }

  #watched(): Watched {
    return {
      outstanding: () => this.outstanding,
      queuedBytes: () => this.#outbox.queuedBytes,
      silent: (what) => this.#abort({ kind: 'timeout', message: `${this.name} ${what}` }),
    };
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
    this.#farewell?.heard();
    if (this.#end !== undefined && this.#farewell === undefined) {
      releaseAll(descriptors);
      return;
    }
    this.#receiving = true;
    const wrong = this.#reader.push(bytes, descriptors);
    this.#receiving = false;
    if (wrong !== undefined)
      this.#abort({ kind: 'protocol-error', message: `${this.name} broke the protocol: ${wrong}` });
    // A message that began behind the one at which the connection ended: its descriptors are nobody's.
    else if (this.#end !== undefined && this.#farewell === undefined) this.#reader.discard();
  }

  #idle(): void {
    if (this.#end === undefined) this.#options.onIdle?.();
    this.#outbox.flush();
  }

  #drained(): void {
    if (this.#end !== undefined) return;
    this.#watch.progress();
    this.#transmitWaiting();
    this.#options.onDrained?.();
    this.#commands.resume();
    this.#outbox.flush();
  }

  #channelClosed(error: Error | undefined): void {
    this.#farewell?.cancel();
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
    this.#reader.discard();
  }

  /** A reason when the message must not have been sent. */
  #message(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[]): string | undefined {
    if (this.#end !== undefined) {
      releaseAll(descriptors);
      if (header.type === 'command') this.#putAnswer(header, Errno.ENODEV, EMPTY, NO_DESCRIPTORS);
      return undefined;
    }
    if (header.type === 'reply') return this.#reply(header, payload, descriptors);
    this.#commands.take(header, payload, descriptors);
    return undefined;
  }

  #reply(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[]): string | undefined {
    const taken = this.#pending.take(header.id, header.command);
    if (taken === undefined) {
      releaseAll(descriptors);
      return `a reply to ${commandName(header.command)} that nobody asked for (message ${header.id})`;
    }
    this.#watch.progress();
    const tag = this.#pending.tagOf(header.id);
    if (header.errno !== 0) {
      releaseAll(descriptors);
      taken({ errno: header.errno, payload: EMPTY, descriptors: NO_DESCRIPTORS }, tag);
    } else if (payload.length === 0 && descriptors.length === 0) {
      taken(DONE, tag);
    } else {
      taken({ errno: 0, payload: payload.length === 0 ? EMPTY : payload.slice(), descriptors }, tag);
    }
    this.#transmitWaiting();
    return undefined;
  }

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

  /** Transmits in the order in which commands were submitted: what comes later never overtakes what waits. */
  #submit(
    command: number,
    payload: Uint8Array,
    descriptors: readonly Descriptor[],
    taken: TaggedReplyTaken | undefined,
    tag: number,
    isWanted?: () => boolean,
  ): void {
    if (this.#waiting.length === 0 && this.#roomForRequest()) {
      this.#transmit(command, payload, descriptors, taken, tag);
      return;
    }
    for (const descriptor of descriptors) descriptor.hold();
    this.#waiting.push({ command, payload: payload.slice(), descriptors, taken, tag, isWanted });
    this.#watch.start();
  }

  #roomForRequest(): boolean {
    return this.#pending.size < MAX_REQUESTS && this.#outbox.queuedBytes <= QUEUED_BYTES;
  }

  #transmitWaiting(): void {
    while (this.#waiting.length > 0 && this.#roomForRequest()) {
      const { command, payload, descriptors, taken, tag, isWanted } = this.#waiting.shift() as Outgoing;
      if (isWanted?.() === false) taken?.(undefined, tag);
      else this.#transmit(command, payload, descriptors, taken, tag);
      releaseAll(descriptors);
    }
  }

  #transmit(
    command: number,
    payload: Uint8Array,
    descriptors: readonly Descriptor[],
    taken: TaggedReplyTaken | undefined,
    tag: number,
  ): void {
    const id = this.#pending.nextId();
    if (taken !== undefined) this.#pending.add(id, command, taken, tag);
    this.#watch.start();
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
    if (this.#outbox.queuedBytes > 0) this.#watch.start();
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

  #abort(reason: CloseReason): void {
    this.#finish(reason);
    this.#farewell?.cancel();
    this.#reader.discard();
    this.#channel.close(true);
  }

  #finish(reason: CloseReason): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    this.#watch.cancel();
    this.#commands.discard();
    const waiting = this.#waiting.clear();
    this.#pending.clear();
    for (const { descriptors, taken, tag } of waiting) {
      releaseAll(descriptors);
      taken?.(undefined, tag);
    }
    this.#resolveClosed(reason);
  }
}
