/**
 * Fuzzing of the wire and of connections in blocks: a block is repeated by its seed and number alone. Bytes are random,
 * or valid messages that were damaged. What must not happen is a {@link FuzzFinding}.
 */
import {
  type Codec,
  deviceFeatureRequest,
  dmaLoggingControl,
  dmaLoggingReportReply,
  dmaLoggingReportRequest,
  HEADER_BYTES,
  MESSAGES,
  migrationDeviceState,
  migrationSupport,
  readHeader,
  writeHeader,
} from '../../../src/vfio-user/wire/index.ts';
import { fuzzPair, fuzzPeer } from './fuzz-connection.ts';
import { checkCodec, guarded } from './fuzz-check.ts';
import type { FuzzTally } from './fuzz-finding.ts';
import { fuzzFlood } from './fuzz-flood.ts';
import { RECIPES } from './fuzz-messages.ts';
import { damageHeader, damagePayload, joined } from './fuzz-mutations.ts';
import { Random } from './fuzz-random.ts';

/** Messages that one block feeds to the decoders. */
const DECODED = 400;

/** A flood comes every so many blocks: it moves megabytes. */
const FLOOD_BLOCKS = 20;

const FEATURES: readonly Codec<unknown>[] = [
  dmaLoggingControl,
  dmaLoggingReportRequest,
  dmaLoggingReportReply,
  migrationSupport,
  migrationDeviceState,
].map((codec) => codec as Codec<unknown>);

/** Runs one block: the decoders, a hostile peer on either side, and two connections with damage between them. */
export async function fuzzBlock(seed: number, block: number, tally: FuzzTally): Promise<void> {
  const random = new Random(seed, block);
  for (let i = 0; i < DECODED; i++) {
    tally.messages++;
    fuzzDecoders(
      random.chance(1, 8) ? random.bytes(random.below(160)) : damagedMessage(random),
      random,
      tally,
    );
  }
  await fuzzPeer(random, 'client', tally);
  await fuzzPeer(random, 'server', tally);
  await fuzzPair(random, tally);
  if (block % FLOOD_BLOCKS === 0) await fuzzFlood(random, tally);
}

function damagedMessage(random: Random): Uint8Array {
  const recipe = random.pick(RECIPES);
  const isReply = random.bool();
  let payload = isReply ? recipe.reply(random) : recipe.request(random);
  if (random.chance(9, 10)) payload = damagePayload(random, payload);
  if (random.chance(1, 10)) payload = joined(payload, random.pick(RECIPES).request(random));
  const message = joined(new Uint8Array(HEADER_BYTES), payload);
  writeHeader(message, 0, {
    id: random.below(0x1_0000),
    // Now and then the payload of one command comes under the name of another.
    command: random.chance(1, 20) ? random.below(24) : recipe.command,
    size: message.length,
    type: isReply ? 'reply' : 'command',
    noReply: !isReply && random.bool(),
    errno: isReply && random.chance(1, 8) ? random.u32() : 0,
  });
  if (random.chance(1, 8)) damageHeader(random, message);
  return message;
}

function fuzzDecoders(message: Uint8Array, random: Random, tally: FuzzTally): void {
  const header = guarded('reading a header', message, () => readHeader(message, 0));
  const payload = message.subarray(Math.min(HEADER_BYTES, message.length));
  const known = MESSAGES[header?.command ?? random.below(19)];
  if (known === undefined) {
    tally.refused++;
    return;
  }
  checkCodec(`a request ${known.name}`, known.request, payload, tally);
  checkCodec(`a reply ${known.name}`, known.reply, payload, tally);
  const feature = deviceFeatureRequest.decode(payload);
  if (!feature.ok || known.request !== deviceFeatureRequest) return;
  for (const codec of FEATURES) checkCodec('feature data', codec, feature.value.data, tally);
}
