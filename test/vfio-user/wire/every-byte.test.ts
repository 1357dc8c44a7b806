/** One message of each command, cut at every byte. */
import { afterEach, expect, test } from 'vitest';
import {
  type Descriptor,
  Connection,
  HEADER_BYTES,
  MESSAGES,
  releaseAll,
  writeHeader,
} from '../../../src/vfio-user/index.ts';
import { createChannelPair, fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { RECIPES } from './fuzz-messages.ts';
import { joined } from './fuzz-mutations.ts';
import { Random } from './fuzz-random.ts';

interface Sent {
  readonly command: number;
  readonly bytes: Uint8Array;
  /** Where it begins in the conversation. */
  readonly at: number;
}

const CONVERSATION: readonly Sent[] = conversation();
const LENGTH = CONVERSATION.reduce((sum, { bytes }) => sum + bytes.length, 0);
const PAYLOADS = hexOf(CONVERSATION.map(({ bytes }) => bytes.subarray(HEADER_BYTES)));
const EVERY_BYTE = Array.from({ length: LENGTH + 1 }, (_, at) => at);

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

test('a conversation cut in two at any byte arrives whole', async () => {
  for (const cut of EVERY_BYTE) {
    const { commands, payloads, far } = subject();
    sendPart(far, 0, cut);
    await turns();
    sendPart(far, cut, LENGTH);
    await turns();

    expect(commands).toEqual(CONVERSATION.map(({ command }) => command));
    expect(hexOf(payloads)).toBe(PAYLOADS);
    far.close();
    await turns();
  }
});

test('a peer that vanishes at any byte leaves the whole messages behind and no descriptor', async () => {
  for (const cut of EVERY_BYTE) {
    const { commands, connection, far } = subject();
    sendPart(far, 0, cut);
    far.close();
    const reason = await connection.closed;

    const whole = CONVERSATION.filter(({ at, bytes }) => at + bytes.length <= cut);
    expect(commands).toEqual(whole.map(({ command }) => command));
    expect(reason.kind).toBe('closed-by-peer');
    expect(openFakeDescriptors()).toBe(0);
  }
});

function conversation(): Sent[] {
  const random = new Random(1, 1);
  const messages: Sent[] = [];
  let at = 0;
  for (const [id, recipe] of RECIPES.entries()) {
    const payload = recipe.request(random);
    const size = HEADER_BYTES + payload.length;
    const bytes = joined(new Uint8Array(HEADER_BYTES), payload);
    writeHeader(bytes, 0, { id, command: recipe.command, size, type: 'command', noReply: false, errno: 0 });
    messages.push({ command: recipe.command, bytes, at });
    at += size;
  }
  return messages;
}

function subject() {
  const [near, far] = createChannelPair();
  const commands: number[] = [];
  const payloads: Uint8Array[] = [];
  const connection = new Connection(near, {
    name: 'the peer',
    onCommand: (command) => {
      commands.push(command.command);
      payloads.push(command.payload.slice());
      releaseAll(command.descriptors);
      command.reply();
    },
  });
  far.start({ received: () => {}, idle: () => {}, drained: () => {}, closed: () => {} });
  return { commands, payloads, connection, far };
}

/** Sends the conversation's bytes from `from` to `to`; descriptors go with the first byte of the messages that take some. */
function sendPart(
  far: { send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void },
  from: number,
  to: number,
): void {
  for (const { command, bytes, at } of CONVERSATION) {
    const part = bytes.subarray(Math.max(0, from - at), Math.max(0, to - at));
    if (part.length === 0) continue;
    const takesDescriptors = MESSAGES[command]!.maxRequestDescriptors > 0 && from <= at;
    const descriptors = takesDescriptors ? [fakeDescriptor(at)] : [];
    far.send(part, descriptors);
    releaseAll(descriptors);
  }
}

function hexOf(parts: readonly Uint8Array[]): string {
  return parts.map((part) => Buffer.from(part).toString('hex')).join(' ');
}

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
