/** Payloads at and beyond the edge of what is valid. */
import { describe, expect, test } from 'vitest';
import {
  type Codec,
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
  emptyPayload,
  irqInfoReply,
  irqInfoRequest,
  migDataReadReply,
  migDataReadRequest,
  migDataWriteRequest,
  migrationDeviceState,
  migrationSupport,
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
} from '../../../src/vfio-user/wire/index.ts';
import { changed, hex } from './hex.ts';

const MAP = hex('20000000 03000000 0000000000000000 0010000000000000 0010000000000000');
const UNMAP = hex('18000000 00000000 0010000000000000 0010000000000000');
const REGION_INFO = hex('20000000 00000000 00000000 00000000 0000010000000000 0000000000000000');
/** One sparse area of a region of 64 KiB: the capability is at 32. */
const SPARSE = hex(`40000000 0c000000 00000000 20000000 0000010000000000 0000000000000000
                    0100 0100 00000000 01000000 00000000 0000000000000000 0010000000000000`);
const SIXTEEN = hex('10000000 00000000 00000000 00000000');
const IRQS = hex('14000000 21000000 00000000 00000000 01000000');
const BOOLEANS = hex('16000000 22000000 00000000 00000000 02000000 01 00');
const READ = hex('0000000000000000 00000000 04000000');
const DATA = hex('0000000000000000 00000000 04000000 01020304');
const MULTI = hex('0100000000000000 0000000000000000 00000000 04000000 0102030400000000');
const DMA_READ = hex('0000000000000000 0400000000000000');
const DMA_DATA = hex('0000000000000000 0400000000000000 01020304');
const IO_FDS = hex(`38000000 00000000 00000000 01000000
                    0000000000000000 0400000000000000 00000000 00000000 00000000 00000000 0000000000000000`);
const LOGGING = hex('0010000000000000 01000000 00000000 0000000000000000 0010000000000000');
const REPORT = hex('0000000000000000 0010000000000000 0010000000000000');
const MIG = hex('0b000000 03000000 aabbcc');

const LAST = 0xffff_ffff_ffff_ffffn;

function longer(bytes: Uint8Array, extra = 1): Uint8Array {
  const result = new Uint8Array(bytes.length + extra);
  result.set(bytes);
  return result;
}

type Case = readonly [name: string, codec: Codec<unknown>, bytes: Uint8Array];

function payload<T>(name: string, codec: Codec<T>, bytes: Uint8Array): Case {
  return [name, codec as Codec<unknown>, bytes];
}

describe('refused with EINVAL', () => {
  test.each([
    payload('a payload where there is none', emptyPayload, hex('00')),

    payload('DMA_MAP of 31 bytes', dmaMapRequest, MAP.subarray(0, 31)),
    payload(
      'DMA_MAP with argsz 31',
      dmaMapRequest,
      changed(MAP, (view) => view.setUint32(0, 31, true)),
    ),
    payload(
      'DMA_MAP with flag 4',
      dmaMapRequest,
      changed(MAP, (view) => view.setUint32(4, 7, true)),
    ),
    payload(
      'DMA_MAP with flag 8',
      dmaMapRequest,
      changed(MAP, (view) => view.setUint32(4, 0x0b, true)),
    ),
    payload(
      'DMA_MAP with flag 0x20',
      dmaMapRequest,
      changed(MAP, (view) => view.setUint32(4, 0x23, true)),
    ),
    payload(
      'DMA_MAP with flag 31',
      dmaMapRequest,
      changed(MAP, (view) => view.setUint32(4, 0x8000_0001, true)),
    ),
    payload(
      'DMA_MAP of nothing',
      dmaMapRequest,
      changed(MAP, (view) => view.setBigUint64(24, 0n, true)),
    ),
    payload(
      'DMA_MAP one byte beyond 2^64',
      dmaMapRequest,
      changed(MAP, (view) => {
        view.setBigUint64(16, LAST - 0xffen, true);
      }),
    ),
    payload(
      'DMA_MAP of all addresses but one, from the second',
      dmaMapRequest,
      changed(MAP, (view) => {
        view.setBigUint64(16, 2n, true);
        view.setBigUint64(24, LAST, true);
      }),
    ),
    payload(
      'DMA_MAP whose file ends beyond 2^64',
      dmaMapRequest,
      changed(MAP, (view) => {
        view.setBigUint64(8, LAST - 0xffen, true);
      }),
    ),

    payload('DMA_UNMAP of 23 bytes', dmaUnmapRequest, UNMAP.subarray(0, 23)),
    payload(
      'DMA_UNMAP with argsz 23',
      dmaUnmapRequest,
      changed(UNMAP, (view) => view.setUint32(0, 23, true)),
    ),
    payload(
      'DMA_UNMAP with flag 4',
      dmaUnmapRequest,
      changed(UNMAP, (view) => view.setUint32(4, 4, true)),
    ),
    payload(
      'DMA_UNMAP with both flags',
      dmaUnmapRequest,
      hex('18000000 03000000 0000000000000000 0000000000000000'),
    ),
    payload(
      'DMA_UNMAP of nothing',
      dmaUnmapRequest,
      changed(UNMAP, (view) => view.setBigUint64(16, 0n, true)),
    ),
    payload(
      'DMA_UNMAP one byte beyond 2^64',
      dmaUnmapRequest,
      changed(UNMAP, (view) => {
        view.setBigUint64(8, LAST - 0xffen, true);
      }),
    ),
    payload(
      'DMA_UNMAP of everything at an address',
      dmaUnmapRequest,
      hex('18000000 02000000 0010000000000000 0000000000000000'),
    ),
    payload(
      'DMA_UNMAP of everything with a size',
      dmaUnmapRequest,
      hex('18000000 02000000 0000000000000000 0010000000000000'),
    ),
    payload('the reply to DMA_UNMAP of 23 bytes', dmaUnmapReply, UNMAP.subarray(0, 23)),
    payload(
      'the reply to DMA_UNMAP with argsz 23',
      dmaUnmapReply,
      changed(UNMAP, (view) => view.setUint32(0, 23, true)),
    ),
    payload(
      'the reply to DMA_UNMAP with flag 4',
      dmaUnmapReply,
      changed(UNMAP, (view) => view.setUint32(4, 4, true)),
    ),

    payload('DEVICE_GET_INFO of 15 bytes', deviceInfoRequest, SIXTEEN.subarray(0, 15)),
    payload(
      'DEVICE_GET_INFO with argsz 15',
      deviceInfoRequest,
      changed(SIXTEEN, (view) => view.setUint32(0, 15, true)),
    ),
    payload('its reply of 15 bytes', deviceInfoReply, SIXTEEN.subarray(0, 15)),
    payload(
      'its reply with argsz 15',
      deviceInfoReply,
      changed(SIXTEEN, (view) => view.setUint32(0, 15, true)),
    ),
    payload(
      'its reply with flag 4',
      deviceInfoReply,
      changed(SIXTEEN, (view) => view.setUint32(4, 4, true)),
    ),

    payload('DEVICE_GET_IRQ_INFO of 15 bytes', irqInfoRequest, SIXTEEN.subarray(0, 15)),
    payload(
      'DEVICE_GET_IRQ_INFO with argsz 15',
      irqInfoRequest,
      changed(SIXTEEN, (view) => view.setUint32(0, 15, true)),
    ),
    payload('its reply of 15 bytes', irqInfoReply, SIXTEEN.subarray(0, 15)),
    payload(
      'its reply with argsz 15',
      irqInfoReply,
      changed(SIXTEEN, (view) => view.setUint32(0, 15, true)),
    ),
    payload(
      'its reply with flag 16',
      irqInfoReply,
      changed(SIXTEEN, (view) => view.setUint32(4, 16, true)),
    ),

    payload('DEVICE_GET_REGION_INFO of 31 bytes', regionInfoRequest, REGION_INFO.subarray(0, 31)),
    payload(
      'DEVICE_GET_REGION_INFO with argsz 31',
      regionInfoRequest,
      changed(REGION_INFO, (view) => view.setUint32(0, 31, true)),
    ),
    payload('its reply of 31 bytes', regionInfoReply, REGION_INFO.subarray(0, 31)),
    payload(
      'its reply with argsz 31',
      regionInfoReply,
      changed(REGION_INFO, (view) => view.setUint32(0, 31, true)),
    ),
    payload(
      'its reply with flag 16',
      regionInfoReply,
      changed(REGION_INFO, (view) => view.setUint32(4, 16, true)),
    ),
    payload(
      'a region capability within the fixed part',
      regionInfoReply,
      changed(SPARSE, (view) => view.setUint32(12, 31, true)),
    ),
    payload(
      'a region capability beyond the reply',
      regionInfoReply,
      changed(SPARSE, (view) => view.setUint32(12, 57, true)),
    ),
    payload(
      'a region capability at 2^32 - 1',
      regionInfoReply,
      changed(SPARSE, (view) => view.setUint32(12, 0xffff_ffff, true)),
    ),
    payload(
      'a region capability that is its own successor',
      regionInfoReply,
      changed(SPARSE, (view) => view.setUint32(36, 32, true)),
    ),
    payload(
      'a region capability inside another’s header',
      regionInfoReply,
      changed(SPARSE, (view) => view.setUint32(36, 39, true)),
    ),
    payload(
      'a sparse area too many',
      regionInfoReply,
      changed(SPARSE, (view) => view.setUint32(40, 2, true)),
    ),
    payload(
      '2^32 - 1 sparse areas',
      regionInfoReply,
      changed(SPARSE, (view) => view.setUint32(40, 0xffff_ffff, true)),
    ),
    payload(
      'a sparse area beyond its region',
      regionInfoReply,
      changed(SPARSE, (view) => view.setBigUint64(48, 0xf001n, true)),
    ),
    payload(
      'sparse areas of version 2',
      regionInfoReply,
      changed(SPARSE, (view) => view.setUint16(34, 2, true)),
    ),
    payload('sparse areas without their number', regionInfoReply, SPARSE.subarray(0, 47)),
    payload(
      'sparse areas twice',
      regionInfoReply,
      changed(longer(SPARSE, 16), (view) => {
        view.setUint32(36, 64, true);
        view.setUint32(64, 0x0001_0001, true);
      }),
    ),

    payload('DEVICE_GET_REGION_IO_FDS of 15 bytes', regionIoFdsRequest, SIXTEEN.subarray(0, 15)),
    payload(
      'DEVICE_GET_REGION_IO_FDS with argsz 15',
      regionIoFdsRequest,
      changed(SIXTEEN, (view) => view.setUint32(0, 15, true)),
    ),
    payload(
      'DEVICE_GET_REGION_IO_FDS with a flag',
      regionIoFdsRequest,
      changed(SIXTEEN, (view) => view.setUint32(4, 1, true)),
    ),
    payload(
      'DEVICE_GET_REGION_IO_FDS with a count',
      regionIoFdsRequest,
      changed(SIXTEEN, (view) => view.setUint32(12, 1, true)),
    ),
    payload('its reply of 15 bytes', regionIoFdsReply, SIXTEEN.subarray(0, 15)),
    payload(
      'its reply with argsz 15',
      regionIoFdsReply,
      changed(IO_FDS, (view) => view.setUint32(0, 15, true)),
    ),
    payload(
      'its reply with a flag',
      regionIoFdsReply,
      changed(IO_FDS, (view) => view.setUint32(4, 1, true)),
    ),
    payload('its reply with a part of a sub-region', regionIoFdsReply, IO_FDS.subarray(0, 55)),
    payload(
      'its reply with one sub-region for none',
      regionIoFdsReply,
      changed(IO_FDS, (view) => view.setUint32(12, 0, true)),
    ),
    payload(
      'its reply with one sub-region for two',
      regionIoFdsReply,
      changed(IO_FDS, (view) => view.setUint32(12, 2, true)),
    ),
    payload(
      'a sub-region of type 2',
      regionIoFdsReply,
      changed(IO_FDS, (view) => view.setUint32(36, 2, true)),
    ),
    payload(
      'a sub-region beyond 2^64',
      regionIoFdsReply,
      changed(IO_FDS, (view) => view.setBigUint64(16, LAST - 2n, true)),
    ),

    payload('DEVICE_SET_IRQS of 19 bytes', setIrqsRequest, IRQS.subarray(0, 19)),
    payload(
      'DEVICE_SET_IRQS with argsz 19',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(0, 19, true)),
    ),
    payload(
      'DEVICE_SET_IRQS without flags',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(4, 0, true)),
    ),
    payload(
      'DEVICE_SET_IRQS without an action',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(4, 1, true)),
    ),
    payload(
      'DEVICE_SET_IRQS without a kind of data',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(4, 32, true)),
    ),
    payload(
      'DEVICE_SET_IRQS with two actions',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(4, 0x31, true)),
    ),
    payload(
      'DEVICE_SET_IRQS with two kinds of data',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(4, 0x25, true)),
    ),
    payload(
      'DEVICE_SET_IRQS with flag 64',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(4, 0x61, true)),
    ),
    payload(
      'DEVICE_SET_IRQS beyond 2^32',
      setIrqsRequest,
      changed(IRQS, (view) => {
        view.setUint32(12, 0xffff_ffff, true);
        view.setUint32(16, 2, true);
      }),
    ),
    payload(
      'DEVICE_SET_IRQS of none, not from the first',
      setIrqsRequest,
      changed(IRQS, (view) => {
        view.setUint32(12, 1, true);
        view.setUint32(16, 0, true);
      }),
    ),
    payload(
      'DEVICE_SET_IRQS that masks none',
      setIrqsRequest,
      changed(IRQS, (view) => {
        view.setUint32(4, 9, true);
        view.setUint32(16, 0, true);
      }),
    ),
    payload(
      'DEVICE_SET_IRQS of none with eventfds',
      setIrqsRequest,
      changed(IRQS, (view) => {
        view.setUint32(4, 0x24, true);
        view.setUint32(16, 0, true);
      }),
    ),
    payload('DEVICE_SET_IRQS with a boolean too few', setIrqsRequest, BOOLEANS.subarray(0, 21)),
    payload('DEVICE_SET_IRQS with a boolean too many', setIrqsRequest, longer(BOOLEANS)),
    payload(
      'DEVICE_SET_IRQS of 2^32 - 1 booleans',
      setIrqsRequest,
      changed(BOOLEANS, (view) => view.setUint32(16, 0xffff_ffff, true)),
    ),

    payload('REGION_READ of 15 bytes', regionReadRequest, READ.subarray(0, 15)),
    payload('REGION_READ of 17 bytes', regionReadRequest, longer(READ)),
    payload(
      'REGION_READ beyond 2^64',
      regionReadRequest,
      changed(READ, (view) => view.setBigUint64(0, LAST - 2n, true)),
    ),
    payload(
      'REGION_READ of 64 MiB and a byte',
      regionReadRequest,
      changed(READ, (view) => view.setUint32(12, 0x400_0001, true)),
    ),
    payload('the reply to REGION_READ of 15 bytes', regionReadReply, DATA.subarray(0, 15)),
    payload('the reply to REGION_READ with a byte too few', regionReadReply, DATA.subarray(0, 19)),
    payload('the reply to REGION_READ with a byte too many', regionReadReply, longer(DATA)),
    payload('REGION_WRITE with a byte too few', regionWriteRequest, DATA.subarray(0, 19)),
    payload('REGION_WRITE with a byte too many', regionWriteRequest, longer(DATA)),
    payload(
      'REGION_WRITE beyond 2^64',
      regionWriteRequest,
      changed(DATA, (view) => view.setBigUint64(0, LAST - 2n, true)),
    ),
    payload('the reply to REGION_WRITE with data', regionWriteReply, DATA),
    payload('the reply to REGION_WRITE without anything', regionWriteReply, hex('')),

    payload('REGION_WRITE_MULTI of 7 bytes', regionWriteMultiRequest, MULTI.subarray(0, 7)),
    payload('REGION_WRITE_MULTI with a write too few', regionWriteMultiRequest, MULTI.subarray(0, 8)),
    payload('REGION_WRITE_MULTI with a byte too many', regionWriteMultiRequest, longer(MULTI)),
    payload('REGION_WRITE_MULTI with a write too many', regionWriteMultiRequest, longer(MULTI, 24)),
    payload(
      'REGION_WRITE_MULTI of 2^63 writes',
      regionWriteMultiRequest,
      changed(MULTI, (view) => view.setBigUint64(0, 1n << 63n, true)),
    ),
    payload(
      'REGION_WRITE_MULTI of 2^61 writes, whose bytes are 2^64',
      regionWriteMultiRequest,
      hex('0000000000000020'),
    ),
    payload(
      'REGION_WRITE_MULTI of 9 bytes in a write',
      regionWriteMultiRequest,
      changed(MULTI, (view) => view.setUint32(20, 9, true)),
    ),
    payload(
      'REGION_WRITE_MULTI beyond 2^64',
      regionWriteMultiRequest,
      changed(MULTI, (view) => view.setBigUint64(8, LAST - 2n, true)),
    ),
    payload('its reply of 7 bytes', regionWriteMultiReply, hex('01000000000000')),
    payload('its reply with 2^32 writes', regionWriteMultiReply, hex('0000000001000000')),

    payload('DMA_READ of 15 bytes', dmaReadRequest, DMA_READ.subarray(0, 15)),
    payload('DMA_READ of 17 bytes', dmaReadRequest, longer(DMA_READ)),
    payload(
      'DMA_READ of 2^63 bytes',
      dmaReadRequest,
      changed(DMA_READ, (view) => view.setBigUint64(8, 1n << 63n, true)),
    ),
    payload(
      'DMA_READ of 64 MiB and a byte',
      dmaReadRequest,
      changed(DMA_READ, (view) => view.setBigUint64(8, 0x400_0001n, true)),
    ),
    payload(
      'DMA_READ beyond 2^64',
      dmaReadRequest,
      changed(DMA_READ, (view) => view.setBigUint64(0, LAST - 2n, true)),
    ),
    payload('the reply to DMA_READ with a byte too few', dmaReadReply, DMA_DATA.subarray(0, 19)),
    payload('the reply to DMA_READ with a byte too many', dmaReadReply, longer(DMA_DATA)),
    payload(
      'the reply to DMA_READ that claims 2^32 bytes more',
      dmaReadReply,
      changed(DMA_DATA, (view) => view.setUint32(12, 1, true)),
    ),
    payload('DMA_WRITE of 15 bytes', dmaWriteRequest, DMA_DATA.subarray(0, 15)),
    payload(
      'DMA_WRITE beyond 2^64',
      dmaWriteRequest,
      changed(DMA_DATA, (view) => view.setBigUint64(0, LAST - 2n, true)),
    ),
    payload('the reply to DMA_WRITE of 8 bytes', dmaWriteReply, DMA_READ.subarray(0, 8)),
    payload('the reply to DMA_WRITE of 13 bytes', dmaWriteReply, DMA_READ.subarray(0, 13)),
    payload('the reply to DMA_WRITE of 17 bytes', dmaWriteReply, longer(DMA_READ)),

    payload('DEVICE_FEATURE of 7 bytes', deviceFeatureRequest, hex('08000000 010001')),
    payload('DEVICE_FEATURE with argsz 7', deviceFeatureRequest, hex('07000000 01000100')),
    payload('DEVICE_FEATURE that does nothing', deviceFeatureRequest, hex('08000000 01000000')),
    payload('DEVICE_FEATURE that gets and sets', deviceFeatureRequest, hex('08000000 01000300')),
    payload('DEVICE_FEATURE with flag 19', deviceFeatureRequest, hex('08000000 01000900')),

    payload('DMA_LOGGING_START of 15 bytes', dmaLoggingControl, LOGGING.subarray(0, 15)),
    payload(
      'DMA_LOGGING_START with pages of 0 bytes',
      dmaLoggingControl,
      changed(LOGGING, (view) => view.setBigUint64(0, 0n, true)),
    ),
    payload(
      'DMA_LOGGING_START with pages of 3 bytes',
      dmaLoggingControl,
      changed(LOGGING, (view) => view.setBigUint64(0, 3n, true)),
    ),
    payload('DMA_LOGGING_START with a range too few', dmaLoggingControl, LOGGING.subarray(0, 16)),
    payload(
      'DMA_LOGGING_START of 2^32 - 1 ranges',
      dmaLoggingControl,
      changed(LOGGING, (view) => view.setUint32(8, 0xffff_ffff, true)),
    ),
    payload(
      'DMA_LOGGING_START of a range of nothing',
      dmaLoggingControl,
      changed(LOGGING, (view) => view.setBigUint64(24, 0n, true)),
    ),
    payload(
      'DMA_LOGGING_START beyond 2^64',
      dmaLoggingControl,
      changed(LOGGING, (view) => view.setBigUint64(16, LAST, true)),
    ),
    payload('DMA_LOGGING_REPORT of 23 bytes', dmaLoggingReportRequest, REPORT.subarray(0, 23)),
    payload('DMA_LOGGING_REPORT of 25 bytes', dmaLoggingReportRequest, longer(REPORT)),
    payload(
      'DMA_LOGGING_REPORT of nothing',
      dmaLoggingReportRequest,
      changed(REPORT, (view) => view.setBigUint64(8, 0n, true)),
    ),
    payload(
      'DMA_LOGGING_REPORT with pages of 0 bytes',
      dmaLoggingReportRequest,
      changed(REPORT, (view) => view.setBigUint64(16, 0n, true)),
    ),
    payload('the reply to DMA_LOGGING_REPORT without its bitmap', dmaLoggingReportReply, REPORT),
    payload('the reply to DMA_LOGGING_REPORT with half a word', dmaLoggingReportReply, longer(REPORT, 4)),
    payload(
      'the reply to DMA_LOGGING_REPORT of 2^63 pages',
      dmaLoggingReportReply,
      changed(longer(REPORT, 8), (view) => {
        view.setBigUint64(8, 1n << 63n, true);
        view.setBigUint64(16, 1n, true);
      }),
    ),

    payload('MIGRATION of 7 bytes', migrationSupport, hex('01000000000000')),
    payload('MIGRATION with flag 8', migrationSupport, hex('0900000000000000')),
    payload('MIGRATION with flag 2^63', migrationSupport, hex('0100000000000080')),
    payload('MIG_DEVICE_STATE of 4 bytes', migrationDeviceState, hex('01000000')),
    payload('MIG_DEVICE_STATE 8', migrationDeviceState, hex('0800000000000000')),
    payload('MIG_DATA_READ of 7 bytes', migDataReadRequest, hex('08000000 000000')),
    payload('MIG_DATA_READ without room for its reply', migDataReadRequest, hex('0b000000 04000000')),
    payload('MIG_DATA_READ of 2^32 - 1 bytes', migDataReadRequest, hex('ffffffff ffffffff')),
    payload('the reply to MIG_DATA_READ with a byte too few', migDataReadReply, MIG.subarray(0, 10)),
    payload('MIG_DATA_WRITE with a byte too few', migDataWriteRequest, MIG.subarray(0, 10)),
    payload(
      'MIG_DATA_WRITE with argsz too small',
      migDataWriteRequest,
      changed(MIG, (view) => view.setUint32(0, 10, true)),
    ),
  ])('%s', (_name, codec, bytes) => {
    expect(codec.decode(bytes)).toEqual({ ok: false, errno: 22, reason: expect.stringMatching(/^\S.*\S$/) });
  });
});

describe('accepted', () => {
  test.each([
    payload('DMA_MAP', dmaMapRequest, MAP),
    payload('DMA_UNMAP', dmaUnmapRequest, UNMAP),
    payload('the reply to DMA_UNMAP', dmaUnmapReply, UNMAP),
    payload('DEVICE_GET_INFO', deviceInfoRequest, SIXTEEN),
    payload('the reply to DEVICE_GET_INFO', deviceInfoReply, SIXTEEN),
    payload('DEVICE_GET_IRQ_INFO', irqInfoRequest, SIXTEEN),
    payload('the reply to DEVICE_GET_IRQ_INFO', irqInfoReply, SIXTEEN),
    payload('DEVICE_GET_REGION_INFO', regionInfoRequest, REGION_INFO),
    payload('the reply to DEVICE_GET_REGION_INFO', regionInfoReply, REGION_INFO),
    payload('the reply to DEVICE_GET_REGION_INFO with a sparse area', regionInfoReply, SPARSE),
    payload('DEVICE_GET_REGION_IO_FDS', regionIoFdsRequest, SIXTEEN),
    payload('the reply to DEVICE_GET_REGION_IO_FDS', regionIoFdsReply, IO_FDS),
    payload('DEVICE_SET_IRQS without data', setIrqsRequest, IRQS),
    payload('DEVICE_SET_IRQS with booleans', setIrqsRequest, BOOLEANS),
    payload('REGION_READ', regionReadRequest, READ),
    payload('the reply to REGION_READ', regionReadReply, DATA),
    payload('REGION_WRITE', regionWriteRequest, DATA),
    payload('the reply to REGION_WRITE', regionWriteReply, READ),
    payload('REGION_WRITE_MULTI', regionWriteMultiRequest, MULTI),
    payload('DMA_READ', dmaReadRequest, DMA_READ),
    payload('the reply to DMA_READ', dmaReadReply, DMA_DATA),
    payload('DMA_WRITE', dmaWriteRequest, DMA_DATA),
    payload('the reply to DMA_WRITE', dmaWriteReply, DMA_READ),
    payload('DMA_LOGGING_START', dmaLoggingControl, LOGGING),
    payload('DMA_LOGGING_REPORT', dmaLoggingReportRequest, REPORT),
    payload('the reply to DMA_LOGGING_REPORT', dmaLoggingReportReply, longer(REPORT, 8)),
    payload('the reply to MIG_DATA_READ', migDataReadReply, MIG),
    payload('MIG_DATA_WRITE', migDataWriteRequest, MIG),
    payload(
      'DMA_MAP up to 2^64',
      dmaMapRequest,
      changed(MAP, (view) => view.setBigUint64(16, LAST - 0xfffn, true)),
    ),
    payload(
      'DMA_MAP of memory that may not be accessed',
      dmaMapRequest,
      changed(MAP, (view) => view.setUint32(4, 0, true)),
    ),
    payload(
      'DMA_MAP with more than is known',
      dmaMapRequest,
      changed(longer(MAP, 8), (view) => view.setUint32(0, 40, true)),
    ),
    payload(
      'DMA_UNMAP up to 2^64',
      dmaUnmapRequest,
      changed(UNMAP, (view) => view.setBigUint64(8, LAST - 0xfffn, true)),
    ),
    payload(
      'DMA_UNMAP of all addresses but the last',
      dmaUnmapRequest,
      changed(UNMAP, (view) => {
        view.setBigUint64(8, 0n, true);
        view.setBigUint64(16, LAST, true);
      }),
    ),
    payload(
      'DMA_UNMAP followed by what it says about a bitmap',
      dmaUnmapRequest,
      changed(longer(UNMAP, 16), (view) => view.setUint32(4, 1, true)),
    ),
    payload(
      'the reply to DMA_UNMAP with the bytes that were unmapped',
      dmaUnmapReply,
      hex('18000000 02000000 0000000000000000 0010000000000000'),
    ),
    payload(
      'DEVICE_GET_INFO with fields that should be 0',
      deviceInfoRequest,
      hex('10000000 ffffffff ffffffff ffffffff'),
    ),
    payload(
      'a sparse area up to the end of its region',
      regionInfoReply,
      changed(SPARSE, (view) => view.setBigUint64(48, 0xf000n, true)),
    ),
    payload(
      'DEVICE_SET_IRQS up to 2^32',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(12, 0xffff_ffff, true)),
    ),
    payload(
      'DEVICE_SET_IRQS of none',
      setIrqsRequest,
      changed(IRQS, (view) => view.setUint32(16, 0, true)),
    ),
    payload(
      'REGION_READ up to 2^64',
      regionReadRequest,
      changed(READ, (view) => view.setBigUint64(0, LAST - 3n, true)),
    ),
    payload(
      'REGION_READ of 64 MiB',
      regionReadRequest,
      changed(READ, (view) => view.setUint32(12, 0x400_0000, true)),
    ),
    payload(
      'DMA_READ of 64 MiB',
      dmaReadRequest,
      changed(DMA_READ, (view) => view.setBigUint64(8, 0x400_0000n, true)),
    ),
    payload(
      'DMA_READ up to 2^64',
      dmaReadRequest,
      changed(DMA_READ, (view) => view.setBigUint64(0, LAST - 3n, true)),
    ),
    payload('REGION_WRITE_MULTI of no writes', regionWriteMultiRequest, hex('0000000000000000')),
    payload('the reply to MIG_DATA_READ with more bytes than data', migDataReadReply, longer(MIG)),
  ])('%s', (_name, codec, bytes) => {
    expect(codec.decode(bytes)).toMatchObject({ ok: true });
  });
});
