import {
  type Channel,
  type ChannelListener,
  type CloseReason,
  Connection,
} from '../../../src/vfio-user/index.ts';
import { FakeTimers } from '../fake-timers.ts';
import type { MemoryChannel } from '../memory-channel.ts';
import { FuzzFinding, type FuzzTally } from './fuzz-finding.ts';
import { joined } from './fuzz-mutations.ts';
import { FuzzOwner } from './fuzz-owner.ts';
import type { Random } from './fuzz-random.ts';

/** The largest message that a connection under test takes, in bytes. */
export const MAX_MESSAGE = 0x1_0000;
/** Milliseconds after which a connection under test that has a clock gives its peer up. */
export const TIMEOUT = 1000;

/** A connection under test, everything it depends on, and whether it has kept its promises. */
export class FuzzSubject {
  readonly near: MemoryChannel;
  readonly connection: Connection;
  readonly owner: FuzzOwner;
  readonly timers: FakeTimers | undefined;
  readonly sent: Uint8Array[];
  reason: CloseReason | undefined;
  #thrown: unknown;
  #hasThrown = false;

  constructor(random: Random, near: MemoryChannel, sent: Uint8Array[], tally: FuzzTally) {
    this.near = near;
    this.sent = sent;
    this.timers = random.chance(1, 4) ? new FakeTimers() : undefined;
    this.owner = new FuzzOwner(random, tally);
    this.connection = new Connection(this.#watched(near), {
      name: 'the peer',
      onCommand: (command) => this.owner.take(command),
      maxMessageBytes: MAX_MESSAGE,
      maxDescriptors: 4,
      maxUnanswered: random.pick([1, 4, 1024]),
      timers: this.timers,
      requestTimeout: TIMEOUT,
    });
    this.owner.connection = this.connection;
    void this.#watchEnd();
  }

  async #watchEnd(): Promise<void> {
    this.reason = await this.connection.closed;
  }

  /** Everything that the peer sent. */
  get bytes(): Uint8Array {
    return joined(...this.sent);
  }

  check(): void {
    if (this.#hasThrown) throw this.finding(`the connection threw ${describe(this.#thrown)}`);
    const wrong = this.owner.wrong;
    if (wrong !== undefined) throw wrong instanceof FuzzFinding ? wrong : this.finding(describe(wrong));
    const { isOpen, unanswered } = this.connection;
    if (isOpen && this.near.queuedBytes === 0 && this.owner.isIdle && unanswered > 0) {
      throw this.finding(`${unanswered} commands are held back, and nothing is in their way`);
    }
  }

  /** Checks what must be so when it is over. */
  finish(tally: FuzzTally): void {
    this.owner.answerRest();
    this.check();
    if (this.reason === undefined) throw this.finding('the connection has not ended with its channel');
    if (this.owner.unanswered > 0)
      throw this.finding(`${this.owner.unanswered} requests got neither an answer nor the end`);
    if ((this.timers?.pending ?? 0) > 0) throw this.finding('a timer runs on after the end');
    if (this.reason.message.length > 300)
      throw this.finding('the reason of the end is as long as what the peer sent');
    tally.endings[this.reason.kind] = (tally.endings[this.reason.kind] ?? 0) + 1;
  }

  finding(what: string): FuzzFinding {
    return new FuzzFinding(what, this.bytes);
  }

  /** The channel, with what the connection throws kept from the channel, which would not survive it. */
  #watched(channel: Channel): Channel {
    const attempt = (action: () => void): void => {
      try {
        action();
      } catch (error) {
        this.#thrown ??= error;
        this.#hasThrown = true;
      }
    };
    return {
      passesDescriptors: channel.passesDescriptors,
      get queuedBytes() {
        return channel.queuedBytes;
      },
      start: (listener: ChannelListener) =>
        channel.start({
          received: (bytes, descriptors) => attempt(() => listener.received(bytes, descriptors)),
          idle: () => attempt(() => listener.idle()),
          drained: () => attempt(() => listener.drained()),
          closed: (error) => attempt(() => listener.closed(error)),
        }),
      send: (bytes, descriptors) => channel.send(bytes, descriptors),
      pause: () => channel.pause(),
      resume: () => channel.resume(),
      close: (discard) => channel.close(discard),
    };
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
