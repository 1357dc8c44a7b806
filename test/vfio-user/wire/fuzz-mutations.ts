/** Damage to messages. */
import { HEADER_BYTES } from '../../../src/vfio-user/wire/index.ts';
import type { Random } from './fuzz-random.ts';

/** Values at which size arithmetic goes wrong. */
const EDGES: readonly bigint[] = [
  0n,
  1n,
  7n,
  15n,
  16n,
  17n,
  31n,
  32n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_fff0n,
  0xffff_ffffn,
  0x1_0000_0000n,
  (1n << 53n) + 1n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 4096n,
  (1n << 64n) - 1n,
];

/** Text that JSON readers stumble over. */
const JSON_TEXTS: readonly string[] = [
  '"__proto__":{},',
  '-1',
  '1e999',
  '9007199254740993',
  '1.5',
  'null',
  '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[',
  '\\ud800',
  '\0',
  '{"',
  '%',
];

/** Damages a payload, in place or in a copy. */
export function damagePayload(random: Random, payload: Uint8Array): Uint8Array {
  let bytes = payload;
  for (let rounds = 1 + random.below(3); rounds > 0; rounds--) bytes = damageOnce(random, bytes);
  return bytes;
}

function damageOnce(random: Random, bytes: Uint8Array): Uint8Array {
  switch (random.below(7)) {
    case 0:
      return flipBit(random, bytes);
    case 1:
      return withEdge(random, bytes);
    case 2:
      return bytes.subarray(0, random.below(bytes.length + 1));
    case 3:
      return joined(bytes, random.bytes(random.below(40)));
    case 4: {
      const cut = random.below(bytes.length + 1);
      const text = Uint8Array.from(random.pick(JSON_TEXTS), (character) => character.charCodeAt(0));
      return joined(bytes.subarray(0, cut), text, bytes.subarray(cut));
    }
    case 5: {
      const from = random.below(bytes.length + 1);
      return joined(bytes.subarray(0, from), bytes.subarray(random.below(bytes.length + 1)));
    }
    default:
      if (bytes.length > 0) bytes[random.below(bytes.length)] = random.u32();
      return bytes;
  }
}

function flipBit(random: Random, bytes: Uint8Array): Uint8Array {
  if (bytes.length > 0) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
  return bytes;
}

/** Puts a value at which arithmetic goes wrong into a field of 4 or 8 bytes. */
function withEdge(random: Random, bytes: Uint8Array): Uint8Array {
  const width = random.bool() ? 4 : 8;
  if (bytes.length < width) return bytes;
  const at = random.below(Math.floor((bytes.length - width) / 4) + 1) * 4;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const edge = random.pick(EDGES) + BigInt(random.below(3)) - 1n;
  if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, edge)), true);
  else view.setBigUint64(at, BigInt.asUintN(64, edge), true);
  return bytes;
}

/** Damages the header of a message; most of these end a connection. */
export function damageHeader(random: Random, message: Uint8Array): void {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  switch (random.below(4)) {
    case 0:
      view.setUint32(4, Number(BigInt.asUintN(32, random.pick(EDGES))), true);
      break;
    case 1:
      view.setUint32(4, message.length + random.below(9) - 4, true);
      break;
    case 2:
      view.setUint32(8, random.u32(), true);
      break;
    default:
      message[random.below(HEADER_BYTES)]! ^= 1 << random.below(8);
  }
}

/** Bytes one behind the other. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
