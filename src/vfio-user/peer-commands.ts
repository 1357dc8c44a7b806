import { EMPTY, type IncomingCommand, NO_DESCRIPTORS } from './command.ts';
import { type Descriptor, releaseAll } from './descriptor.ts';
import { Fifo } from './fifo.ts';
import { type Answer, ReceivedCommand } from './received-command.ts';
import type { Header } from './wire/index.ts';

/** While commands of this size are unanswered, further ones are held back. */
const UNANSWERED_BYTES = 4 << 20;
/** While commands with so many descriptors are unanswered, further ones are held back: a process has few of them. */
const UNANSWERED_DESCRIPTORS = 256;
/** When commands of this size are held back, reading stops. */
const HELD_BACK_BYTES = 4 << 20;
/** A command that is held back counts as so many bytes more: keeping it takes them. */
const COMMAND_BYTES = 256;
/** A descriptor that is held back counts as so many bytes. */
const DESCRIPTOR_BYTES = 65_536;

/** The connection that commands came by. */
export interface CommandsOwner {
  /** Whether the connection has not ended. */
  isOpen(): boolean;
  /** Whether so much waits for the peer to read it that its commands had better wait too. */
  isCongested(): boolean;
  /** Takes a command. Must not throw. */
  onCommand(command: IncomingCommand): void;
  /** Sends an answer: `errno` 0 with what was asked for, or an errno with nothing. */
  answer(header: Header, errno: number, payload: Uint8Array, descriptors: readonly Descriptor[]): void;
  /** Stops reading, or goes on. */
  setPaused(paused: boolean): void;
}

interface HeldBack {
  readonly header: Header;
  readonly payload: Uint8Array;
  readonly descriptors: readonly Descriptor[];
}

/** The peer's commands until they are answered: handed over in order, and held back while too much is unanswered. */
export class PeerCommands {
  readonly #owner: CommandsOwner;
  readonly #maxUnanswered: number;
  #unanswered = 0;
  #unansweredBytes = 0;
  #unansweredDescriptors = 0;
  /** Commands that were handed over and not answered at once. */
  readonly #postponed: Set<ReceivedCommand> = new Set();
  /** The command that is being handed over. */
  #current: ReceivedCommand | undefined;
  readonly #heldBack: Fifo<HeldBack> = new Fifo();
  #heldBackBytes = 0;
  #resuming = false;
  #paused = false;

  constructor(owner: CommandsOwner, maxUnanswered: number) {
    this.#owner = owner;
    this.#maxUnanswered = maxUnanswered;
  }

  /** Commands that have not been answered, those held back included. */
  get unanswered(): number {
    return this.#unanswered + this.#heldBack.length;
  }

  /** Takes a command that has come. The payload is read, or copied, before this returns. */
  take(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[]): void {
    if (this.#heldBack.length === 0 && !this.#overloaded) {
      this.#handOver(header, payload, descriptors);
      return;
    }
    this.#heldBack.push({ header, payload: payload.slice(), descriptors });
    this.#heldBackBytes += costOf(header, descriptors);
    if (this.#heldBackBytes <= HELD_BACK_BYTES || this.#paused) return;
    this.#paused = true;
    this.#owner.setPaused(true);
  }

  /** Hands over what was held back, as far as there is room now. */
  resume(): void {
    // Answers that are given at once lead here again, from below: one of these loops is enough.
    if (this.#resuming || this.#heldBack.length === 0) return;
    this.#resuming = true;
    while (this.#owner.isOpen() && !this.#overloaded) {
      const next = this.#heldBack.shift();
      if (next === undefined) break;
      this.#heldBackBytes -= costOf(next.header, next.descriptors);
      this.#handOver(next.header, next.payload, next.descriptors);
    }
    this.#resuming = false;
    if (!this.#paused || this.#heldBackBytes >= HELD_BACK_BYTES / 2) return;
    this.#paused = false;
    this.#owner.setPaused(false);
  }

  /** Answers everything that waits for its answer with `errno`. Answers that come later go nowhere, if the owner sees to that. */
  refuseAll(errno: number): void {
    const refuse = (header: Header): void => this.#owner.answer(header, errno, EMPTY, NO_DESCRIPTORS);
    for (const { header } of this.#postponed) refuse(header);
    if (this.#current?.answered === false) refuse(this.#current.header);
    for (const { header } of this.#heldBack.toArray()) refuse(header);
  }

  /** Forgets what was held back. */
  discard(): void {
    for (const { descriptors } of this.#heldBack.clear()) releaseAll(descriptors);
  }

  get #overloaded(): boolean {
    return (
      this.#unanswered >= this.#maxUnanswered ||
      this.#unansweredBytes > UNANSWERED_BYTES ||
      this.#unansweredDescriptors >= UNANSWERED_DESCRIPTORS ||
      this.#owner.isCongested()
    );
  }

  #handOver(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#unanswered++;
    this.#unansweredBytes += header.size;
    this.#unansweredDescriptors += descriptors.length;
    const received = new ReceivedCommand(header, payload, descriptors, this.#answered);
    const outer = this.#current;
    this.#current = received;
    this.#owner.onCommand(received);
    this.#current = outer;
    if (!received.answered) this.#postponed.add(received);
  }

  readonly #answered: Answer = (command, errno, payload, descriptors) => {
    this.#unanswered--;
    this.#unansweredBytes -= command.header.size;
    this.#unansweredDescriptors -= command.descriptors.length;
    this.#postponed.delete(command);
    if (!this.#owner.isOpen()) return;
    this.#owner.answer(command.header, errno, payload, descriptors);
    this.resume();
  };
}

function costOf(header: Header, descriptors: readonly Descriptor[]): number {
  return header.size + COMMAND_BYTES + descriptors.length * DESCRIPTOR_BYTES;
}
