import { describe, expect, test } from 'vitest';
import { type Codec, deviceInfoReply } from '../../../src/vfio-user/wire/index.ts';
import { checkCodec } from './fuzz-check.ts';
import { fuzzBlock } from './fuzz-core.ts';
import { emptyTally } from './fuzz-finding.ts';

const SEED = 20_261_122;
const BLOCKS = 30;

describe('random and damaged messages', () => {
  test('make nothing throw, hang, leak or change, in decoders and connections', async () => {
    const tally = emptyTally();

    for (let block = 0; block < BLOCKS; block++) await fuzzBlock(SEED, block, tally);

    expect(tally.messages).toBeGreaterThan(BLOCKS * 400);
    expect(tally.accepted).toBeGreaterThan(BLOCKS * 100);
    expect(tally.refused).toBeGreaterThan(BLOCKS * 100);
    expect(tally.descriptors).toBeGreaterThan(BLOCKS);
    expect(Object.keys(tally.endings).sort()).toEqual([
      'closed-by-peer',
      'closed-here',
      'failed',
      'protocol-error',
      'timeout',
    ]);
  });

  test('are the same again for the same seed', async () => {
    const first = emptyTally();
    const second = emptyTally();

    await fuzzBlock(SEED, 3, first);
    await fuzzBlock(SEED, 3, second);

    expect(second).toEqual(first);
  });
});

describe('the check of a codec finds', () => {
  const bytes = deviceInfoReply.encode({ reset: true, pci: true, regions: 9, irqs: 5 });

  function check(broken: Partial<Codec<unknown>>): () => void {
    const codec = { ...(deviceInfoReply as Codec<unknown>), ...broken };
    return () => checkCodec('a codec', codec, bytes, emptyTally());
  }

  test('nothing in one that works', () => {
    expect(check({})).not.toThrow();
  });

  test('a decoder that throws', () => {
    expect(
      check({
        decode: () => {
          throw new RangeError('out of bounds');
        },
      }),
    ).toThrow(/out of bounds/);
  });

  test('an encoder that throws', () => {
    expect(
      check({
        encode: () => {
          throw new RangeError('out of bounds');
        },
      }),
    ).toThrow(/out of bounds/);
  });

  test('a refusal without an errno', () => {
    expect(check({ decode: () => ({ ok: false, errno: 0, reason: 'no' }) })).toThrow(/no errno/);
  });

  test('a value that is refused when it is sent on', () => {
    expect(check({ encode: () => new Uint8Array(3) })).toThrow(/is refused when it is sent on/);
  });

  test('a value that changes when it is sent on', () => {
    let calls = 0;

    expect(check({ encode: () => Uint8Array.from(bytes, (byte, i) => (i === 8 ? calls++ : byte)) })).toThrow(
      /changes/,
    );
  });
});
