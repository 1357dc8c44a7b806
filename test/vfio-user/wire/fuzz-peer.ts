import {
  type Descriptor,
  HEADER_BYTES,
  type Header,
  readHeader,
  releaseAll,
  writeHeader,
} from '../../../src/vfio-user/index.ts';
import { fakeDescriptor, type MemoryChannel } from '../memory-channel.ts';
import type { FuzzTally } from './fuzz-finding.ts';
import { RECIPES, type Recipe } from './fuzz-messages.ts';
import { damageHeader, damagePayload, joined } from './fuzz-mutations.ts';
import type { Random } from './fuzz-random.ts';
import { MAX_MESSAGE } from './fuzz-subject.ts';

/** Sends messages that are damaged in all ways, and answers what it is asked in all ways. */
export class HostilePeer {
  /** What the connection sent that it must not send. */
  wrong: string | undefined;
  readonly #random: Random;
  readonly #channel: MemoryChannel;
  readonly #sent: Uint8Array[];
  readonly #tally: FuzzTally;
  #incoming: Uint8Array = new Uint8Array(0);
  #held: { readonly message: Uint8Array; readonly descriptors: number } | undefined;

  constructor(random: Random, channel: MemoryChannel, sent: Uint8Array[], tally: FuzzTally) {
    this.#random = random;
    this.#channel = channel;
    this.#sent = sent;
    this.#tally = tally;
    channel.start({
      received: (bytes, descriptors) => {
        releaseAll(descriptors);
        this.#received(bytes);
      },
      idle: () => {},
      drained: () => {},
      closed: () => {},
    });
  }

  sendCommand(recipes: readonly Recipe[]): void {
    const random = this.#random;
    const recipe = random.pick(recipes);
    const header = {
      id: random.below(8),
      command: random.chance(1, 30) ? random.below(0x1_0000) : recipe.command,
      type: 'command',
      noReply: random.chance(1, 5),
      errno: 0,
    } as const;
    this.#sendMessage(header, recipe.request(random), recipe.requestDescriptors);
  }

  #received(bytes: Uint8Array): void {
    this.#incoming = joined(this.#incoming, bytes);
    let at = 0;
    while (this.#incoming.length - at >= HEADER_BYTES) {
      const header = readHeader(this.#incoming, at);
      if (header === undefined || header.size < HEADER_BYTES || header.size > 2 * MAX_MESSAGE) {
        this.wrong ??= 'the connection sent a message that nobody can read';
        return;
      }
      if (this.#incoming.length - at < header.size) break;
      at += header.size;
      if (header.type === 'command' && !header.noReply) this.#sendReply(header);
    }
    this.#incoming = this.#incoming.slice(at);
  }

  #sendReply({ id, command }: Header): void {
    const random = this.#random;
    const recipe = RECIPES.find((candidate) => candidate.command === command) ?? random.pick(RECIPES);
    if (random.chance(1, 12)) return;
    const errno = random.chance(1, 8) ? 1 + random.below(120) : 0;
    const header = { id, command, type: 'reply', noReply: false, errno } as const;
    this.#sendMessage(header, recipe.reply(random), recipe.replyDescriptors);
    if (random.chance(1, 200)) this.#sendMessage(header, recipe.reply(random), 0);
  }

  #sendMessage(header: Omit<Header, 'size'>, valid: Uint8Array, mostDescriptors: number): void {
    const random = this.#random;
    const payload = random.chance(2, 5) ? damagePayload(random, valid) : valid;
    const message = joined(new Uint8Array(HEADER_BYTES), payload);
    writeHeader(message, 0, { ...header, size: message.length });
    const descriptors = random.chance(1, 60)
      ? random.below(7)
      : random.below(Math.min(mostDescriptors, 4) + 1);
    if (random.chance(1, 300)) damageHeader(random, message);
    // One is held and sent after the next: out of order.
    if (this.#held === undefined && random.chance(1, 20)) {
      this.#held = { message, descriptors };
      return;
    }
    this.#write(message, descriptors);
    if (random.chance(1, 30)) this.#write(message, 0);
    if (this.#held !== undefined) {
      this.#write(this.#held.message, this.#held.descriptors);
      this.#held = undefined;
    }
    if (random.chance(1, 1500)) this.#write(random.bytes(1 + random.below(200)), 0);
  }

  #write(message: Uint8Array, count: number): void {
    const random = this.#random;
    this.#tally.messages++;
    this.#sent.push(message);
    const descriptors: Descriptor[] = [];
    if (this.#channel.passesDescriptors) {
      for (let i = 0; i < count; i++) descriptors.push(fakeDescriptor(random.below(1000)));
    }
    this.#tally.descriptors += descriptors.length;
    if (descriptors.length > 0 && random.chance(1, 100)) {
      const cut = random.below(message.length);
      this.#channel.send(message.subarray(0, cut));
      this.#channel.send(message.subarray(cut), descriptors);
    } else {
      this.#channel.send(message, descriptors);
    }
    releaseAll(descriptors);
  }
}
