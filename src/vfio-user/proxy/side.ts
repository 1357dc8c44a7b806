import type { Channel } from '../channel.ts';
import type { IncomingCommand } from '../command.ts';
import { Connection, type ConnectionOptions } from '../connection.ts';
import { releaseAll } from '../descriptor.ts';
import { commandName, errnoName, HEADER_BYTES } from '../wire/index.ts';
import type { PassedMessage } from './events.ts';
import { Lane } from './lane.ts';
import { ThrottledChannel } from './throttled-channel.ts';

/** Bytes that a side has not taken, beyond which the other is not read. */
const MOST_UNREAD_BYTES = 8 << 20;

/** One of a proxy's two peers. */
export class Side {
  readonly name: 'vmm' | 'server';
  readonly connection: Connection;
  readonly lane: Lane;
  readonly #channel: ThrottledChannel;
  readonly #passed: ((message: PassedMessage) => void) | undefined;
  /** Where this side's commands go. */
  #other: Side | undefined;

  constructor(
    name: 'vmm' | 'server',
    channel: Channel,
    options: ConnectionOptions,
    passed: ((message: PassedMessage) => void) | undefined,
  ) {
    this.name = name;
    this.#passed = passed;
    this.#channel = new ThrottledChannel(channel);
    this.connection = new Connection(this.#channel, options);
    this.lane = new Lane(this.connection, this.#channel, (bytes) => this.#throttleOther('commands', bytes));
    this.#channel.onDrained = () => {
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
  }
}
