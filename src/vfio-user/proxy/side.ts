import type { Channel } from '../channel.ts';
import type { IncomingCommand } from '../command.ts';
import { Connection, type ConnectionOptions } from '../connection.ts';
import { releaseAll } from '../descriptor.ts';
import { commandName, errnoName, HEADER_BYTES } from '../wire/index.ts';
import type { Timers } from '../platform.ts';
import type { PassedMessage } from './events.ts';
import { Lane } from './lane.ts';
import { StuckWatch } from './stuck-watch.ts';
import { ThrottledChannel } from './throttled-channel.ts';

/** Bytes that a side has not taken, beyond which the other is not read. */
const MOST_UNREAD_BYTES = 8 << 20;
/** How long a side has at the end to take what was passed on to it. */
const LINGER_MS = 5000;

/** What a side is made of. */
export interface SideOptions {
  readonly name: 'vmm' | 'server';
  readonly channel: Channel;
  readonly connection: ConnectionOptions;
  readonly timers: Timers | undefined;
  readonly passed: ((message: PassedMessage) => void) | undefined;
  /** The peer has read nothing for long while the other side waits for that; `why` is a sentence. */
  readonly stuck: (why: string) => void;
}

/** One of a proxy's two peers. */
export class Side {
  readonly name: 'vmm' | 'server';
  readonly connection: Connection;
  readonly lane: Lane;
  readonly #channel: ThrottledChannel;
  readonly #timers: Timers | undefined;
  readonly #stuckWatch: StuckWatch;
  readonly #passed: ((message: PassedMessage) => void) | undefined;
  /** Where this side's commands go. */
  #other: Side | undefined;

  constructor({ name, channel, connection, timers, passed, stuck }: SideOptions) {
    this.name = name;
    this.#timers = timers;
    this.#passed = passed;
    this.#channel = new ThrottledChannel(channel);
    this.connection = new Connection(this.#channel, connection);
    this.lane = new Lane(this.connection, this.#channel, (bytes) => this.#throttleOther('commands', bytes));
    this.#stuckWatch = new StuckWatch(
      this.#channel,
      timers,
      () => this.#isWaitedFor,
      (why) => stuck(`${connection.name} ${why}`),
    );
    this.#channel.onDrained = () => {
      this.#stuckWatch.drained();
      this.lane.pump();
      this.#throttleOther('replies', 0);
    };
  }

  /** Ties it to the other side. */
  join(other: Side): void {
    this.#other = other;
  }

  /** Passes a command of this side on to the other, and its reply back. */
  pass(command: IncomingCommand, to: Side): void {
    const { payload, descriptors } = command;
    const number = command.command;
    this.#tell('command', number, payload.length, descriptors.length, 0);
    if (command.noReply) {
      to.lane.post(number, payload, descriptors, () => command.reply());
    } else {
      to.lane.send(number, payload, descriptors, (reply) => {
        if (reply === undefined) return;
        to.tellReply(number, reply.payload.length, reply.descriptors.length, reply.errno);
        const passable = this.connection.passesDescriptors ? reply.descriptors : [];
        if (reply.errno === 0) command.reply(reply.payload, passable);
        else command.fail(reply.errno);
        releaseAll(reply.descriptors);
        this.#throttleOther('replies', this.#channel.queuedBytes);
      });
    }
    releaseAll(descriptors);
  }

  /** Ends the connection. What was passed on still goes out; with a clock, to a peer that takes it in some seconds. */
  end(reason: string): void {
    this.lane.close();
    this.#stuckWatch.end();
    if (!this.connection.isOpen) return;
    this.connection.close(reason);
    const patience = this.#timers?.after(LINGER_MS, () => this.#channel.close(true));
    this.#channel.onClosed = () => patience?.cancel();
  }

  /** Tells of a reply of this side that is passed on. */
  tellReply(command: number, bytes: number, descriptors: number, errno: number): void {
    this.#tell('reply', command, bytes, descriptors, errno);
  }

  /** Tells of a command of this side that is passed on. */
  tellCommand(command: number, bytes: number): void {
    this.#tell('command', command, bytes, 0, 0);
  }

  #tell(
    kind: PassedMessage['kind'],
    command: number,
    bytes: number,
    descriptors: number,
    errno: number,
  ): void {
    this.#passed?.({
      from: this.name,
      kind,
      command: commandName(command),
      size: HEADER_BYTES + bytes,
      descriptors,
      result: errno === 0 ? 'ok' : errnoName(errno),
    });
  }

  /** Stops reading the other side while too much of what it sent has not been taken here. */
  #throttleOther(what: 'commands' | 'replies', bytes: number): void {
    const reason = `${what} for ${this.name}`;
    if (this.#other === undefined) return;
    const channel = this.#other.#channel;
    if (bytes > MOST_UNREAD_BYTES) channel.throttle(reason);
    else if (bytes < MOST_UNREAD_BYTES / 2) channel.unthrottle(reason);
    if (this.#isWaitedFor) this.#stuckWatch.begin();
  }

  /** Commands that wait make the other side's connection stop reading well before they are too many here. */
  get #isWaitedFor(): boolean {
    return this.lane.waitingBytes > 0 || this.#channel.queuedBytes > MOST_UNREAD_BYTES / 2;
  }
}
