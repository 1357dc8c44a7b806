/** Bytes written by hand from the tables of docs/interop/vfio-user.rst: all numbers are little-endian. */
import { describe, expect, test } from 'vitest';
import {
  type Codec,
  deviceFeatureReply,
  deviceFeatureRequest,
  deviceInfoReply,
  deviceInfoRequest,
  dmaLoggingControl,
  dmaLoggingReportReply,
  dmaLoggingReportRequest,
  dmaMapRequest,
  dmaReadReply,
  dmaReadRequest,
  dmaUnmapReply,
  dmaUnmapRequest,
  dmaWriteReply,
  dmaWriteRequest,
  Feature,
  irqInfoReply,
  irqInfoRequest,
  migDataReadReply,
  migDataReadRequest,
  migDataWriteRequest,
  migrationDeviceState,
  migrationSupport,
  MigrationState,
  regionInfoReply,
  regionInfoRequest,
  regionIoFdsReply,
  regionIoFdsRequest,
  regionReadReply,
  regionReadRequest,
  regionWriteMultiReply,
  regionWriteMultiRequest,
  regionWriteReply,
  regionWriteRequest,
  setIrqsRequest,
  versionReply,
  versionRequest,
} from '../../../src/vfio-user/wire/index.ts';
import { hex } from './hex.ts';

interface Golden {
  readonly name: string;
  readonly codec: Codec<unknown>;
  readonly value: unknown;
  readonly bytes: Uint8Array;
}

function golden<T>(name: string, codec: Codec<T>, value: T, bytes: Uint8Array): Golden {
  return { name, codec: codec as Codec<unknown>, value, bytes };
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

describe.each([
  golden(
    'VERSION as QEMU proposes it',
    versionRequest,
    {
      major: 0,
      minor: 0,
      capabilities: {
        maxMsgFds: 16,
        maxDataXferSize: 1_048_576,
        maxDmaMaps: 65_535,
        pgsizes: 4096n,
        writeMultiple: true,
        migration: { pgsize: 4096, maxBitmapSize: 268_435_456 },
      },
    },
    joined(
      hex('0000 0000'),
      ascii(
        '{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":65535,"pgsizes":4096,' +
          '"write_multiple":true,"migration":{"pgsize":4096,"max_bitmap_size":268435456}}}\0',
      ),
    ),
  ),
  golden(
    'the reply to VERSION',
    versionReply,
    {
      major: 0x1234,
      minor: 2,
      capabilities: { twinSocket: { supported: true, fdIndex: 0 }, other: { x: 'é' } },
    },
    joined(
      hex('3412 0200'),
      ascii('{"capabilities":{"twin_socket":{"supported":true,"fd_index":0},"x":"\\u00e9"}}\0'),
    ),
  ),
  golden(
    'VERSION with an extension',
    versionRequest,
    { major: 0, minor: 0, capabilities: { viommu: { sameFile: true } } },
    joined(hex('0000 0000'), ascii('{"capabilities":{"viommu":{"same_file":true}}}\0')),
  ),
  golden(
    'DMA_MAP',
    dmaMapRequest,
    { read: true, write: true, offset: 0x1122_3344_5566_7000n, address: 0xfedc_ba98_0000n, size: 0x20_0000n },
    hex(`20000000         # argsz
         03000000         # flags: readable, writeable
         0070665544332211 # offset
         000098badcfe0000 # address
         0000200000000000 # size`),
  ),
  golden(
    'DMA_MAP of memory that devices may only write',
    dmaMapRequest,
    { read: false, write: true, offset: 0n, address: 0n, size: 1n },
    hex('20000000 02000000 0000000000000000 0000000000000000 0100000000000000'),
  ),
  golden(
    'DMA_MAP of the file of the last descriptor',
    dmaMapRequest,
    { read: true, write: false, sameFile: true, offset: 0x1000n, address: 0x2000n, size: 0x3000n },
    hex('20000000 11000000 0010000000000000 0020000000000000 0030000000000000'),
  ),
  golden(
    'DMA_UNMAP of everything above an address, as QEMU sends it',
    dmaUnmapRequest,
    { dirtyBitmap: false, all: false, address: 0xfef0_0000n, size: 0xffff_ffff_0110_0000n },
    hex(`18000000         # argsz
         00000000         # flags
         0000f0fe00000000 # address
         00001001ffffffff # size`),
  ),
  golden(
    'DMA_UNMAP of everything',
    dmaUnmapRequest,
    { dirtyBitmap: false, all: true, address: 0n, size: 0n },
    hex('18000000 02000000 0000000000000000 0000000000000000'),
  ),
  golden(
    'the reply to DMA_UNMAP',
    dmaUnmapReply,
    { dirtyBitmap: true, all: false, address: 0x1000n, size: 0x2000n },
    hex('18000000 01000000 0010000000000000 0020000000000000'),
  ),
  golden('DEVICE_GET_INFO', deviceInfoRequest, { argsz: 16 }, hex('10000000 00000000 00000000 00000000')),
  golden(
    'the reply to DEVICE_GET_INFO',
    deviceInfoReply,
    { reset: true, pci: true, regions: 9, irqs: 5 },
    hex('10000000 03000000 09000000 05000000'),
  ),
  golden(
    'DEVICE_GET_REGION_INFO',
    regionInfoRequest,
    { argsz: 0x1000, index: 7 },
    hex('00100000 00000000 07000000 00000000 0000000000000000 0000000000000000'),
  ),
  golden(
    'the reply to DEVICE_GET_REGION_INFO',
    regionInfoReply,
    { argsz: 32, read: true, write: true, mmap: false, index: 7, size: 0x1000n, offset: 0n },
    hex(`20000000         # argsz
         03000000         # flags: read, write
         07000000         # index
         00000000         # cap_offset
         0010000000000000 # size
         0000000000000000 # offset`),
  ),
  golden(
    'the reply to DEVICE_GET_REGION_INFO with sparse areas',
    regionInfoReply,
    {
      argsz: 80,
      read: true,
      write: false,
      mmap: true,
      index: 0,
      size: 0x4000n,
      offset: 0x10_0000n,
      sparse: [
        { offset: 0x1000n, size: 0x1000n },
        { offset: 0x3000n, size: 0x1000n },
      ],
    },
    hex(`50000000         # argsz
         0d000000         # flags: read, mmap, caps
         00000000         # index
         20000000         # cap_offset
         0040000000000000 # size
         0000100000000000 # offset
         0100 0100        # id: sparse mmap, version
         00000000         # next
         02000000         # nr_areas
         00000000         # reserved
         0010000000000000 0010000000000000
         0030000000000000 0010000000000000`),
  ),
  golden(
    'DEVICE_GET_REGION_IO_FDS',
    regionIoFdsRequest,
    { argsz: 16, index: 2 },
    hex('10000000 00000000 02000000 00000000'),
  ),
  golden(
    'the reply to DEVICE_GET_REGION_IO_FDS',
    regionIoFdsReply,
    {
      argsz: 96,
      index: 2,
      count: 2,
      subRegions: [
        { offset: 0x10n, size: 4n, fdIndex: 0, type: 'ioeventfd', flags: 1, data: 0x55n },
        { offset: 0x20n, size: 0n, fdIndex: 1, type: 'ioregionfd', flags: 2, data: 0xaan },
      ],
    },
    hex(`60000000 00000000 02000000 02000000 # argsz, flags, index, count
         1000000000000000 0400000000000000   # offset, size
         00000000 00000000 01000000 00000000 # fd_index, type, flags, padding
         5500000000000000                    # datamatch
         2000000000000000 0000000000000000
         01000000 01000000 02000000 00000000
         aa00000000000000                    # user_data`),
  ),
  golden(
    'DEVICE_GET_IRQ_INFO',
    irqInfoRequest,
    { argsz: 16, index: 2 },
    hex('10000000 00000000 02000000 00000000'),
  ),
  golden(
    'the reply to DEVICE_GET_IRQ_INFO',
    irqInfoReply,
    { index: 2, count: 0x800, eventfd: true, maskable: false, automasked: false, noresize: true },
    hex('10000000 09000000 02000000 00080000'),
  ),
  golden(
    'the reply to DEVICE_GET_IRQ_INFO for INTx',
    irqInfoReply,
    { index: 0, count: 1, eventfd: true, maskable: true, automasked: true, noresize: false },
    hex('10000000 07000000 00000000 01000000'),
  ),
  golden(
    'DEVICE_SET_IRQS with eventfds',
    setIrqsRequest,
    { index: 2, start: 3, count: 4, action: 'trigger', data: 'eventfd' },
    hex(`14000000 # argsz
         24000000 # flags: eventfd, trigger
         02000000 # index
         03000000 # start
         04000000 # count`),
  ),
  golden(
    'DEVICE_SET_IRQS with booleans',
    setIrqsRequest,
    { index: 1, start: 0, count: 3, action: 'mask', data: [true, false, true] },
    hex('17000000 0a000000 01000000 00000000 03000000 01 00 01'),
  ),
  golden(
    'DEVICE_SET_IRQS without data',
    setIrqsRequest,
    { index: 0, start: 0, count: 1, action: 'unmask', data: 'none' },
    hex('14000000 11000000 00000000 00000000 01000000'),
  ),
  golden(
    'REGION_READ',
    regionReadRequest,
    { offset: 0x1_0000_0040n, region: 7, count: 4 },
    hex('4000000001000000 07000000 04000000'),
  ),
  golden(
    'the reply to REGION_READ',
    regionReadReply,
    { offset: 0x40n, region: 7, count: 4, data: hex('deadbeef') },
    hex('4000000000000000 07000000 04000000 deadbeef'),
  ),
  golden(
    'REGION_WRITE',
    regionWriteRequest,
    { offset: 0x40n, region: 0, count: 2, data: hex('cafe') },
    hex('4000000000000000 00000000 02000000 cafe'),
  ),
  golden(
    'the reply to REGION_WRITE',
    regionWriteReply,
    { offset: 0x40n, region: 0, count: 2 },
    hex('4000000000000000 00000000 02000000'),
  ),
  golden(
    'REGION_WRITE_MULTI',
    regionWriteMultiRequest,
    {
      writes: [
        { offset: 0x10n, region: 0, count: 4, data: hex('01020304') },
        { offset: 0x18n, region: 2, count: 8, data: hex('1112131415161718') },
      ],
    },
    hex(`0200000000000000                    # wr_cnt
         1000000000000000 00000000 04000000 0102030400000000
         1800000000000000 02000000 08000000 1112131415161718`),
  ),
  golden('the reply to REGION_WRITE_MULTI', regionWriteMultiReply, { completed: 2 }, hex('0200000000000000')),
  golden(
    'DMA_READ',
    dmaReadRequest,
    { address: 0x1234_5678_9000n, count: 0x1000n },
    hex('0090785634120000 0010000000000000'),
  ),
  golden(
    'the reply to DMA_READ',
    dmaReadReply,
    { address: 0x1000n, count: 3n, data: hex('010203') },
    hex('0010000000000000 0300000000000000 010203'),
  ),
  golden(
    'DMA_WRITE',
    dmaWriteRequest,
    { address: 0x1000n, count: 3n, data: hex('010203') },
    hex('0010000000000000 0300000000000000 010203'),
  ),
  golden(
    'the reply to DMA_WRITE',
    dmaWriteReply,
    { address: 0x1000n, count: 3n },
    hex('0010000000000000 0300000000000000'),
  ),
  golden(
    'DEVICE_FEATURE that probes',
    deviceFeatureRequest,
    {
      argsz: 8,
      feature: Feature.DMA_LOGGING_START,
      get: false,
      set: true,
      probe: true,
      data: new Uint8Array(0),
    },
    hex('08000000 06000600'),
  ),
  golden(
    'the reply to DEVICE_FEATURE that gets',
    deviceFeatureReply,
    {
      argsz: 16,
      feature: Feature.MIGRATION,
      get: true,
      set: false,
      probe: false,
      data: hex('0500000000000000'),
    },
    hex('10000000 01000100 0500000000000000'),
  ),
  golden(
    'the data of MIGRATION',
    migrationSupport,
    { stopCopy: true, p2p: false, preCopy: true },
    hex('0500000000000000'),
  ),
  golden(
    'the data of MIG_DEVICE_STATE',
    migrationDeviceState,
    { state: MigrationState.STOP_COPY },
    hex('03000000 00000000'),
  ),
  golden(
    'the data of DMA_LOGGING_START',
    dmaLoggingControl,
    { pageSize: 0x1000n, ranges: [{ iova: 0x10_0000n, length: 0x2000n }] },
    hex('0010000000000000 01000000 00000000 0000100000000000 0020000000000000'),
  ),
  golden(
    'the data of DMA_LOGGING_REPORT',
    dmaLoggingReportRequest,
    { iova: 0x10_0000n, length: 0x2000n, pageSize: 0x1000n },
    hex('0000100000000000 0020000000000000 0010000000000000'),
  ),
  golden(
    'the data of the reply to DMA_LOGGING_REPORT',
    dmaLoggingReportReply,
    { iova: 0x10_0000n, length: 0x2000n, pageSize: 0x1000n, bitmap: hex('0200000000000000') },
    hex('0000100000000000 0020000000000000 0010000000000000 0200000000000000'),
  ),
  golden('MIG_DATA_READ', migDataReadRequest, { argsz: 0x1008, size: 0x1000 }, hex('08100000 00100000')),
  golden(
    'the reply to MIG_DATA_READ',
    migDataReadReply,
    { data: hex('aabb') },
    hex('0a000000 02000000 aabb'),
  ),
  golden('MIG_DATA_WRITE', migDataWriteRequest, { data: hex('aabbcc') }, hex('0b000000 03000000 aabbcc')),
])('$name', ({ codec, value, bytes }) => {
  test('is these bytes', () => {
    expect(codec.encode(value)).toEqual(bytes);
  });

  test('is what these bytes mean', () => {
    expect(codec.decode(bytes)).toEqual({ ok: true, value });
  });
});
