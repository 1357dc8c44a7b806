import { EMPTY, type IncomingCommand, NO_DESCRIPTORS } from './command.ts';
import type { Descriptor } from './descriptor.ts';
import { commandName, type Header } from './wire/index.ts';

/** Sends an answer: `errno` 0 with what was asked for, or an errno with nothing. */
export type Answer = (
  command: ReceivedCommand,
  errno: number,
  payload: Uint8Array,
  descriptors: readonly Descriptor[],
) => void;

/** A command as it came, to be answered once. */
export class ReceivedCommand implements IncomingCommand {
  readonly payload: Uint8Array;
  readonly descriptors: readonly Descriptor[];
  readonly header: Header;
  #answer: Answer | undefined;

  /** `answer` is called once. */
  constructor(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[], answer: Answer) {
    this.header = header;
    this.payload = payload;
    this.descriptors = descriptors;
    this.#answer = answer;
  }

  get command(): number {
    return this.header.command;
  }

  get noReply(): boolean {
    return this.header.noReply;
  }

  /** Whether it has been answered. */
  get answered(): boolean {
    return this.#answer === undefined;
  }

  reply(payload: Uint8Array = EMPTY, descriptors: readonly Descriptor[] = NO_DESCRIPTORS): void {
    this.#once()(this, 0, payload, descriptors);
  }

  fail(errno: number): void {
    this.#once()(this, errno, EMPTY, NO_DESCRIPTORS);
  }

  #once(): Answer {
    const answer = this.#answer;
    if (answer === undefined) throw new Error(`${commandName(this.command)} was answered twice`);
    this.#answer = undefined;
    return answer;
  }
}
