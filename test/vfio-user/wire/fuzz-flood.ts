/** Peers that want more memory than anybody has. */
import {
  Command,
  Connection,
  HEADER_BYTES,
  type IncomingCommand,
  writeHeader,
} from '../../../src/vfio-user/index.ts';
import { createChannelPair, type MemoryChannel } from '../memory-channel.ts';
import { FuzzFinding, type FuzzTally } from './fuzz-finding.ts';
import type { Random } from './fuzz-random.ts';

/** More than a connection keeps for a peer, answers or commands, with room for one delivery and one message. */
const MOST_BYTES = (4 << 20) + (256 << 10);
const COMMANDS = 400;
const PAYLOAD = new Uint8Array(32 << 10);

/** A peer that asks for much and reads nothing, or sends much that is not answered. */
export async function fuzzFlood(random: Random, tally: FuzzTally): Promise<void> {
  const [near, far] = createChannelPair({ split: random.pick([1000, 65_536]) });
  const open: IncomingCommand[] = [];
  const readsNothing = random.bool();
  const connection = new Connection(near, {
    name: 'the peer',
    maxUnanswered: random.pick([1, 16, 64]),
    onCommand: (command) => {
      if (readsNothing) command.reply(PAYLOAD);
      else open.push(command);
    },
  });
  listen(far);
  if (readsNothing) far.pause();
  const payload = readsNothing ? new Uint8Array(random.below(64)) : PAYLOAD;
  for (let i = 0; i < COMMANDS; i++) {
    far.send(commandWith(payload, i));
    tally.messages++;
    if (random.chance(1, 16)) await Promise.resolve();
  }
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
  check('answers that nobody reads', near.queuedBytes, payload);
  check('commands that nobody answers', (connection.unanswered - open.length) * payload.length, payload);
  if (near.queuedBytes === 0 && connection.unanswered === 0) {
    throw new FuzzFinding('a flood has left no trace', payload);
  }
  far.close(true);
  near.close(true);
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
  for (const command of open) command.reply();
  if (connection.isOpen) throw new FuzzFinding('the connection has not ended with its channel', payload);
}

function check(what: string, bytes: number, sent: Uint8Array): void {
  if (bytes > MOST_BYTES) throw new FuzzFinding(`${bytes} bytes are kept of ${what}`, sent);
}

function listen(channel: MemoryChannel): void {
  channel.start({ received: () => {}, idle: () => {}, drained: () => {}, closed: () => {} });
}

function commandWith(payload: Uint8Array, id: number): Uint8Array {
  const size = HEADER_BYTES + payload.length;
  const message = new Uint8Array(size);
  message.set(payload, HEADER_BYTES);
  writeHeader(message, 0, {
    id,
    command: Command.REGION_READ,
    size,
    type: 'command',
    noReply: false,
    errno: 0,
  });
  return message;
}
