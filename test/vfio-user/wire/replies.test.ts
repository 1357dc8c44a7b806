/** What is particular in single replies. */
import { describe, expect, test } from 'vitest';
import {
  dmaWriteReply,
  encodeRegionInfo,
  encodeRegionIoFds,
  regionInfoReply,
  regionIoFdsReply,
  regionWriteRequest,
} from '../../../src/vfio-user/wire/index.ts';
import { changed, hex } from './hex.ts';

const REGION = { read: true, write: true, mmap: true, index: 0, size: 0x1_0000n, offset: 0n };
const SPARSE = [{ offset: 0x1000n, size: 0x2000n }];
const SUB_REGION = { offset: 0n, size: 4n, fdIndex: 0, type: 'ioeventfd', flags: 0, data: 0n } as const;

describe('a region’s information', () => {
  test('says how much room it needs', () => {
    const bytes = encodeRegionInfo({ ...REGION, sparse: SPARSE }, 64);

    expect(regionInfoReply.decode(bytes)).toEqual({
      ok: true,
      value: { ...REGION, argsz: 64, sparse: SPARSE },
    });
  });

  test('comes without its capabilities when there is not room for them', () => {
    const bytes = encodeRegionInfo({ ...REGION, sparse: SPARSE }, 63);

    expect(bytes.length).toBe(32);
    expect(regionInfoReply.decode(bytes)).toEqual({ ok: true, value: { ...REGION, argsz: 64 } });
  });

  test('needs 32 bytes when there are no sparse areas', () => {
    expect(regionInfoReply.decode(encodeRegionInfo(REGION, 0x1000))).toEqual({
      ok: true,
      value: { ...REGION, argsz: 32 },
    });
  });

  test('may say that no part can be mapped', () => {
    const bytes = encodeRegionInfo({ ...REGION, sparse: [] }, 0x1000);

    expect(regionInfoReply.decode(bytes)).toMatchObject({ value: { argsz: 48, sparse: [] } });
  });

  test('is understood when the capabilities are announced and left out, as the kernel does', () => {
    const bytes = changed(encodeRegionInfo(REGION, 32), (view) => {
      view.setUint32(0, 80, true);
      view.setUint32(4, 15, true);
    });

    expect(regionInfoReply.decode(bytes)).toEqual({ ok: true, value: { ...REGION, argsz: 80 } });
  });

  test('has its sparse areas found behind other capabilities', () => {
    const bytes = hex(`50000000 0f000000 00000000 20000000 0000010000000000 0000000000000000
                       0200 0100 30000000 aaaaaaaabbbbbbbb
                       0100 0100 00000000 01000000 00000000 0010000000000000 0020000000000000`);

    expect(regionInfoReply.decode(bytes)).toEqual({
      ok: true,
      value: { ...REGION, argsz: 80, sparse: SPARSE },
    });
  });
});

describe('a region’s descriptors', () => {
  test('come when there is room for them', () => {
    expect(regionIoFdsReply.decode(encodeRegionIoFds(1, [SUB_REGION], 56))).toEqual({
      ok: true,
      value: { argsz: 56, index: 1, count: 1, subRegions: [SUB_REGION] },
    });
  });

  test('are only counted when there is not', () => {
    expect(regionIoFdsReply.decode(encodeRegionIoFds(1, [SUB_REGION], 55))).toEqual({
      ok: true,
      value: { argsz: 56, index: 1, count: 1, subRegions: [] },
    });
  });

  test('are understood in libvfio-user’s longer entries, where the value to match is further back', () => {
    const bytes = hex(`40000000 00000000 01000000 01000000
                       0000000000000000 0400000000000000 00000000 00000000 00000000 00000000
                       ffffffffffffffff 7700000000000000`);

    expect(regionIoFdsReply.decode(bytes)).toMatchObject({
      value: { subRegions: [{ ...SUB_REGION, data: 0x77n }] },
    });
  });
});

describe('the reply to DMA_WRITE', () => {
  test('may be empty', () => {
    expect(dmaWriteReply.decode(hex(''))).toEqual({ ok: true, value: undefined });
  });

  test('may have a count of four bytes, as in the specification’s table', () => {
    expect(dmaWriteReply.decode(hex('0010000000000000 00020000'))).toEqual({
      ok: true,
      value: { address: 0x1000n, count: 0x200n },
    });
  });
});

test('data that was decoded is a view, not a copy', () => {
  const bytes = hex('0000000000000000 00000000 02000000 0102');
  const decoded = regionWriteRequest.decode(bytes);

  bytes[16] = 9;

  expect(decoded).toMatchObject({ value: { data: Uint8Array.of(9, 2) } });
});
