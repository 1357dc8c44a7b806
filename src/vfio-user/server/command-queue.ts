import type { IncomingCommand } from '../command.ts';
import { type Descriptor, releaseAll } from '../descriptor.ts';
import { Errno } from '../wire/index.ts';
import type { Answer } from './served.ts';

/** A command whose bytes stay. */
interface Queued {
  readonly command: IncomingCommand;
  readonly payload: Uint8Array;
  readonly descriptors: readonly Descriptor[];
}

/** What the queue's owner does. */
export interface CommandWorker {
  /** Carries out a command; descriptors are the worker's. It may throw or reject. */
  work(command: IncomingCommand, payload: Uint8Array): Answer | Promise<Answer>;
  /** Whether an answer may be given now; when not, {@link CommandQueue.resume} is called later. */
  hasRoom(): boolean;
  /** A command has been answered. */
  answered(): void;
  /** A command failed by throwing: the client gets EIO. */
  failed(command: IncomingCommand, error: unknown): void;
}

/**
 * A client's commands, one after the other in the order in which they came. What is answered at once never waits, and
 * costs no promise; only behind a command that takes its time do others queue up, as many as the connection lets through.
 * They are not carried out faster than the client reads the answers.
 */
export class CommandQueue {
  readonly #worker: CommandWorker;
  readonly #queue: Queued[] = [];
  #isWorking = false;
  /** Commands, at work or queued, whose answer the client waits for. */
  #awaited = 0;
  #isClosed = false;

  constructor(worker: CommandWorker) {
    this.#worker = worker;
  }

  /** Whether the client waits for an answer. */
  get isAwaited(): boolean {
    return this.#awaited > 0;
  }

  /** Takes a command, to be answered by the queue. */
  push(command: IncomingCommand): void {
    if (!command.noReply) this.#awaited++;
    if (this.#isWorking || this.#queue.length > 0) {
      this.#queue.push({ command, payload: command.payload.slice(), descriptors: command.descriptors });
      return;
    }
    this.#isWorking = true;
    if (this.#begin(command, command.payload)) this.#isWorking = false;
    else return;
    if (this.#queue.length > 0) this.#continue();
  }

  /** There is room for answers again. */
  resume(): void {
    this.#continue();
  }

  /** The client is gone: what is queued is dropped, what is at work is not answered. */
  close(): void {
    this.#isClosed = true;
    for (const { descriptors } of this.#queue.splice(0)) releaseAll(descriptors);
  }

  /** Whether the command is over already. */
  #begin(command: IncomingCommand, payload: Uint8Array): boolean {
    let answer: Answer | Promise<Answer>;
    try {
      answer = this.#worker.work(command, payload);
    } catch (error) {
      this.#fail(command, error);
      return true;
    }
    if (!(answer instanceof Promise)) {
      this.#answer(command, answer);
      return true;
    }
    answer
      .then(
        (late) => this.#answer(command, late),
        (error: unknown) => this.#fail(command, error),
      )
      .finally(() => {
        this.#isWorking = false;
        this.#continue();
      });
    return false;
  }

  #continue(): void {
    while (!this.#isWorking && !this.#isClosed && this.#worker.hasRoom()) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#isWorking = true;
      if (this.#begin(next.command, next.payload)) this.#isWorking = false;
    }
  }

  #fail(command: IncomingCommand, error: unknown): void {
    this.#worker.failed(command, error);
    this.#answer(command, Errno.EIO);
  }

  #answer(command: IncomingCommand, answer: Answer): void {
    if (!command.noReply) this.#awaited--;
    if (typeof answer === 'number') {
      if (answer === 0) command.reply();
      else command.fail(answer);
    } else if (answer instanceof Uint8Array) {
      command.reply(answer);
    } else {
      command.reply(answer.payload, answer.descriptors);
    }
    this.#worker.answered();
  }
}
