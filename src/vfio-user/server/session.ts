import type { Channel } from '../channel.ts';
import type { CloseReason } from '../close-reason.ts';
import type { IncomingCommand } from '../command.ts';
import { Connection } from '../connection.ts';
import { releaseAll } from '../descriptor.ts';
import type { Timers } from '../platform.ts';
import {
  type Capabilities,
  Command,
  commandName,
  Errno,
  type VersionMessage,
  versionReply,
  versionRequest,
} from '../wire/index.ts';
import { CommandQueue } from './command-queue.ts';
import { HANDLERS, TAKES_DESCRIPTORS } from './commands.ts';
import { type DmaLink, DmaMessages } from './dma-messages.ts';
import { LastFile } from './last-file.ts';
import type { Answer, Call, Served } from './served.ts';
import { agree } from './version.ts';

/** Room in a message beside its data. */
const MESSAGE_OVERHEAD = 4096;

/** Who has sessions. */
export interface SessionOwner {
  /** Resolves when a client that is gone already has been cleared away; undefined when there is none to wait for. */
  leaving(): Promise<unknown> | undefined;
  /** A client that proposes `capabilities` wants to be served, and is when the answer is undefined; otherwise it says why not. */
  admit(session: Session, capabilities: Capabilities): string | undefined;
  /** The connection is over, admitted or not. Called once. */
  ended(session: Session, reason: CloseReason): void;
}

/** One connection of a client: negotiation, then commands. */
export class Session {
  readonly #served: Served;
  readonly #owner: SessionOwner;
  readonly #connection: Connection;
  readonly #queue: CommandQueue;
  #link: DmaLink | undefined;
  /** Only when it was agreed that mappings may name it. */
  #lastFile: LastFile | undefined;
  /** Why it is not served, once it has been told. */
  #refusal: string | undefined;

  /** Reads at once. `name` is the client's for people. */
  constructor(
    channel: Channel,
    options: { served: Served; owner: SessionOwner; name: string; timers: Timers | undefined },
  ) {
    const { served, owner, name, timers } = options;
    const { limits } = served;
    this.#served = served;
    this.#owner = owner;
    this.#queue = new CommandQueue({
      work: (command, payload) => this.#work(command, payload),
      hasRoom: () => !this.#connection.isCongested,
      answered: () => {
        if (this.#refusal !== undefined) this.#connection.close(this.#refusal);
      },
      failed: (command, error) => this.#failed(command, error),
    });
    this.#connection = new Connection(channel, {
      name,
      onCommand: (command) => this.#queue.push(command),
      onDrained: () => this.#queue.resume(),
      maxMessageBytes: limits.maxDataXferSize + MESSAGE_OVERHEAD,
      maxDescriptors: limits.maxMsgFds,
      timers,
      lingers: true,
      requestTimeout: limits.requestTimeout,
    });
    void this.#connection.closed.then((reason) => this.#ended(reason));
  }

  /** Whether the client is still there. */
  get isOpen(): boolean {
    return this.#connection.isOpen;
  }

  /** By which the device reaches memory that came without a file; undefined before the client is served. */
  get link(): DmaLink | undefined {
    return this.#link;
  }

  /** Resolves when the connection is over. */
  get closed(): Promise<CloseReason> {
    return this.#connection.closed;
  }

  /** Ends the connection. */
  close(reason: string): void {
    this.#connection.close(reason);
  }

  #work(command: IncomingCommand, payload: Uint8Array): Answer | Promise<Answer> {
    const { descriptors } = command;
    if (descriptors.length > 0 && !TAKES_DESCRIPTORS.has(command.command)) {
      releaseAll(descriptors);
      return Errno.EINVAL;
    }
    if (this.#link === undefined) {
      if (this.#refusal === undefined) return this.#begin(command, payload);
      releaseAll(descriptors);
      return Errno.EINVAL;
    }
    const handler = HANDLERS.get(command.command);
    // Unknown commands, a second VERSION and what only a server sends: EINVAL, as libvfio-user answers; the
    // specification names no errno for them.
    if (handler === undefined) return Errno.EINVAL;
    const call: Call = {
      payload,
      descriptors,
      passesDescriptors: this.#connection.passesDescriptors,
      lastFile: this.#lastFile,
      isOpen: () => this.#connection.isOpen,
    };
    return handler(this.#served, call);
  }

  /** The first command, which has to be VERSION. */
  #begin(command: IncomingCommand, payload: Uint8Array): Answer | Promise<Answer> {
    if (command.command !== Command.VERSION || command.noReply) {
      releaseAll(command.descriptors);
      const name = commandName(command.command);
      return this.#refuse(Errno.EINVAL, `its first command is ${name}, and VERSION with an answer is needed`);
    }
    const proposal = versionRequest.decode(payload);
    if (!proposal.ok) return this.#refuse(proposal.errno, proposal.reason);
    const leaving = this.#owner.leaving();
    if (leaving === undefined) return this.#negotiate(proposal.value);
    return leaving.then(() => this.#negotiate(proposal.value));
  }

  #negotiate(proposal: VersionMessage): Answer {
    const agreement = agree(proposal, this.#served.limits, {
      descriptors: this.#connection.passesDescriptors,
      files: this.#served.table.takesFiles,
    });
    if ('errno' in agreement) return this.#refuse(agreement.errno, agreement.reason);
    if (!this.#connection.isOpen) return Errno.ENOTCONN;
    const reason = this.#owner.admit(this, agreement.reply.capabilities);
    if (reason !== undefined) return this.#refuse(Errno.EBUSY, reason);
    const isBusy = (): boolean => this.#queue.isAwaited;
    this.#link = new DmaMessages(this.#connection, this.#served.traffic, agreement.maxDmaBytes, isBusy);
    if (agreement.sameFile) this.#lastFile = new LastFile();
    return versionReply.encode(agreement.reply);
  }

  /** The answer is an errno, and then the connection ends. */
  #refuse(errno: number, reason: string): number {
    this.#refusal = `the client was turned away: ${reason}`;
    return errno;
  }

  #ended(reason: CloseReason): void {
    this.#queue.close();
    this.#lastFile?.forget();
    this.#owner.ended(this, reason);
  }

  #failed(command: IncomingCommand, error: unknown): void {
    const what = error instanceof Error ? error.message : String(error);
    this.#served.observer?.observe({
      kind: 'device-failed',
      source: this.#served.device.name,
      message: `the device failed in ${commandName(command.command)}, which was answered with EIO: ${what}`,
      details: { command: command.command },
    });
  }
}
