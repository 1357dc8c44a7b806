import type { IncomingCommand } from '../command.ts';

/** The answer to one command, still to be given. */
export interface PendingAnswer {
  readonly command: IncomingCommand;
  errno: number | undefined;
  payload: Uint8Array | undefined;
}

/**
 * Answers in the order of the commands, whenever they are known. QEMU waits for the reply to the last of a burst of
 * maps and takes it as the end of all of them.
 */
export class OrderedAnswers {
  #queue: PendingAnswer[] = [];
  #first = 0;
  #isFlushing = false;

  /** Takes a place in the order for `command`. */
  open(command: IncomingCommand): PendingAnswer {
    const answer: PendingAnswer = { command, errno: undefined, payload: undefined };
    this.#queue.push(answer);
    return answer;
  }

  /** Decides an answer, which `flush` gives when its turn has come. */
  settle(answer: PendingAnswer, errno: number, payload?: Uint8Array): void {
    answer.errno = errno;
    answer.payload = payload;
  }

  /** Gives every answer whose turn has come. The peer's next commands may arrive from inside. */
  flush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    for (let next = this.#queue[this.#first]; next?.errno !== undefined; next = this.#queue[this.#first]) {
      this.#first++;
      if (next.errno === 0) next.command.reply(next.payload);
      else next.command.fail(next.errno);
    }
    this.#isFlushing = false;
    if (this.#first * 2 <= this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#first);
    this.#first = 0;
  }
}
