import { expect, test } from 'vitest';
import { dmaMapRequest, dmaUnmapReply, dmaUnmapRequest } from '../../../src/vfio-user/wire/index.ts';

const MAP = { read: true, write: false, offset: 0x5000n, address: 0xffff_ffff_ffff_f000n, size: 0x1000n };
const UNMAP = { dirtyBitmap: false, all: false, address: 0x1234_5678_9000n, size: 0x2000n };

test('encoded messages keep their bytes when others are encoded and decoded', () => {
  const map = dmaMapRequest.encode(MAP);
  const unmap = dmaUnmapRequest.encode(UNMAP);

  dmaMapRequest.encode({ ...MAP, write: true, offset: 0n, address: 0n });
  dmaUnmapReply.decode(dmaUnmapReply.encode({ ...UNMAP, address: 0n }));

  expect(dmaMapRequest.decode(map)).toEqual({ ok: true, value: MAP });
  expect(dmaUnmapRequest.decode(unmap)).toEqual({ ok: true, value: UNMAP });
});

test('a payload in the middle of other bytes, longer than the structure, is read from its own beginning', () => {
  const stream = new Uint8Array(100).fill(0xee);
  const payload = stream.subarray(33, 33 + 48);
  payload.set(dmaMapRequest.encode(MAP));

  expect(dmaMapRequest.decode(payload)).toEqual({ ok: true, value: MAP });
});

test('a short payload shows nothing of the one before', () => {
  dmaMapRequest.decode(dmaMapRequest.encode(MAP));

  expect(dmaMapRequest.decode(new Uint8Array(31))).toEqual({
    ok: false,
    errno: 22,
    reason: 'DMA_MAP: 31 bytes, must be at least 32',
  });
});
