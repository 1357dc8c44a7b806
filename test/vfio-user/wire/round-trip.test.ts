import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as wire from '../../../src/vfio-user/wire/index.ts';
import { PAYLOADS } from './payloads.ts';

const anyChange = fc.record({
  position: fc.nat(),
  bits: fc.integer({ min: 1, max: 0xff }),
});

describe.each(PAYLOADS)('$name', ({ codec, values }) => {
  test('what was encoded decodes to the same value', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(codec.decode(codec.encode(value))).toEqual({ ok: true, value });
      }),
    );
  });

  test('decoding does not throw, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        const decoded = codec.decode(bytes);
        expect(decoded.ok || (decoded.errno > 0 && decoded.reason.length > 0)).toBe(true);
      }),
    );
  });

  test('what decodes after damage is the same after another encoding and decoding', () => {
    const damaged = fc
      .tuple(values, fc.array(anyChange, { maxLength: 4 }), fc.integer({ min: -8, max: 8 }))
      .map(([value, changes, longer]) => damage(codec.encode(value), changes, longer));
    fc.assert(
      fc.property(damaged, (bytes) => {
        const first = codec.decode(bytes);
        if (!first.ok) return;
        const encoded = codec.encode(first.value);
        const second = codec.decode(encoded);
        expect(second.ok && codec.encode(second.value)).toEqual(encoded);
      }),
    );
  });

  test('decoding leaves the bytes as they were', () => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = codec.encode(value);
        const copy = bytes.slice();
        codec.decode(bytes);
        expect(bytes).toEqual(copy);
      }),
    );
  });

  test('decoding reads its bytes in the middle of others', () => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = codec.encode(value);
        const around = new Uint8Array(bytes.length + 29).fill(0xa5);
        around.set(bytes, 13);
        expect(codec.decode(around.subarray(13, 13 + bytes.length))).toEqual(codec.decode(bytes));
      }),
    );
  });
});

test('every codec of the room is tested here', () => {
  const codecs = new Set<unknown>(Object.values(wire).filter((value) => isCodec(value)));

  expect(codecs).toEqual(new Set<unknown>(PAYLOADS.map(({ codec }) => codec)));
});

function isCodec(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'encode' in value && 'decode' in value;
}

function damage(
  bytes: Uint8Array,
  changes: readonly { position: number; bits: number }[],
  longer: number,
): Uint8Array {
  const result = new Uint8Array(Math.max(0, bytes.length + longer));
  result.set(bytes.subarray(0, result.length));
  for (const { position, bits } of changes) {
    if (result.length > 0) result[position % result.length]! ^= bits;
  }
  return result;
}
