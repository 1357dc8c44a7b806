import {
  type Connection,
  type Descriptor,
  type IncomingCommand,
  MESSAGES,
  type Reply,
  releaseAll,
} from '../../../src/vfio-user/index.ts';
import { fakeDescriptor } from '../memory-channel.ts';
import { checkCodec } from './fuzz-check.ts';
import type { FuzzTally } from './fuzz-finding.ts';
import { RECIPES } from './fuzz-messages.ts';
import type { Random } from './fuzz-random.ts';

const ENOSYS = 38;

/** Uses a connection as servers and clients do: decodes, answers at once or later, and asks. Keeps what goes wrong. */
export class FuzzOwner {
  connection: Connection | undefined;
  /** The first thing that went wrong here. */
  wrong: unknown;
  /** Requests that got no answer yet. */
  unanswered = 0;
  readonly #random: Random;
  readonly #tally: FuzzTally;
  readonly #open: IncomingCommand[] = [];

  constructor(random: Random, tally: FuzzTally) {
    this.#random = random;
    this.#tally = tally;
  }

  /** Whether no command waits for an answer here. */
  get isIdle(): boolean {
    return this.#open.length === 0;
  }

  take(command: IncomingCommand): void {
    this.#guarded(() => {
      if (this.connection?.isOpen === false) throw new Error('a command came after the end');
      releaseAll(command.descriptors);
      const message = MESSAGES[command.command];
      if (message === undefined) {
        command.fail(ENOSYS);
        return;
      }
      checkCodec(`a request ${message.name}`, message.request, command.payload, this.#tally);
      if (this.#random.chance(1, 3)) this.#open.push(command);
      else this.#answer(command);
    });
  }

  /** Answers some of the commands that wait, in any order. */
  answerSome(): void {
    this.#guarded(() => {
      for (let i = this.#random.below(this.#open.length + 1); i > 0; i--) {
        const [command] = this.#open.splice(this.#random.below(this.#open.length), 1);
        if (command !== undefined) this.#answer(command);
      }
    });
  }

  /** Answers all commands that wait. */
  answerRest(): void {
    this.#guarded(() => {
      for (const command of this.#open.splice(0)) this.#answer(command);
    });
  }

  /** Sends a request. */
  request(): void {
    this.#guarded(() => {
      const recipe = this.#random.pick(RECIPES);
      const payload = recipe.request(this.#random);
      const descriptors = this.#descriptors(recipe.requestDescriptors);
      if (this.#random.chance(1, 6)) {
        this.connection?.post(recipe.command, payload, descriptors);
      } else {
        let taken = false;
        this.unanswered++;
        this.connection?.send(recipe.command, payload, descriptors, (reply) => {
          this.#guarded(() => {
            if (taken) throw new Error('a request was answered twice');
            taken = true;
            this.unanswered--;
            this.#replied(recipe.command, reply);
          });
        });
      }
      releaseAll(descriptors);
      if (this.#random.bool()) this.connection?.flush();
    });
  }

  #replied(command: number, reply: Reply | undefined): void {
    if (reply === undefined) return;
    releaseAll(reply.descriptors);
    const message = MESSAGES[command];
    if (reply.errno !== 0 || message === undefined) return;
    checkCodec(`a reply ${message.name}`, message.reply, reply.payload, this.#tally);
  }

  #answer(command: IncomingCommand): void {
    const random = this.#random;
    if (random.chance(1, 5)) {
      command.fail(1 + random.below(100));
      return;
    }
    const recipe = RECIPES.find((candidate) => candidate.command === command.command);
    const descriptors = this.#descriptors(recipe?.replyDescriptors ?? 0);
    command.reply(recipe?.reply(random), descriptors);
    releaseAll(descriptors);
  }

  #descriptors(most: number): Descriptor[] {
    if (this.connection?.passesDescriptors !== true) return [];
    return Array.from({ length: this.#random.below(Math.min(most, 4) + 1) }, () =>
      fakeDescriptor(this.#random.below(1000)),
    );
  }

  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.wrong ??= error;
    }
  }
}
