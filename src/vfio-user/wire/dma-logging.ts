/** The data of the features that log which pages DMA has written. Source: vfio-user, "VFIO_DEVICE_FEATURE_DMA_LOGGING_*". @module */
import { accept, type Codec, type Decoded, refuse, refuseLength, viewOf } from './codec.ts';
import { ADDRESS_END } from './limits.ts';

const CONTROL_BYTES = 16;
const RANGE_BYTES = 16;
const REPORT_BYTES = 24;

/** DMA addresses whose pages are logged. */
export interface DmaLoggingRange {
  readonly iova: bigint;
  /** Bytes, at least 1; `iova + length` does not exceed 2^64. */
  readonly length: bigint;
}

/** What is to be logged. */
export interface DmaLoggingControl {
  /** Bytes, a power of two: what the client wants, and in the reply what it got. */
  readonly pageSize: bigint;
  /** None means everything. */
  readonly ranges: readonly DmaLoggingRange[];
}

/** Which pages are asked about. */
export interface DmaLoggingReport extends DmaLoggingRange {
  /** Bytes that one bit stands for, a power of two. */
  readonly pageSize: bigint;
}

/** Which pages were written. */
export interface DmaLoggingBitmap extends DmaLoggingReport {
  /** Little-endian 64-bit words, bit 0 of the first for the page at `iova`. {@link dmaLoggingBitmapBytes} bytes. */
  readonly bitmap: Uint8Array;
}

/** Bytes of the bitmap of `length` bytes of addresses: whole 64-bit words. */
export function dmaLoggingBitmapBytes(length: bigint, pageSize: bigint): bigint {
  const pages = (length + pageSize - 1n) / pageSize;
  return ((pages + 63n) / 64n) * 8n;
}

/** Data of DMA_LOGGING_START, request and reply. */
export const dmaLoggingControl: Codec<DmaLoggingControl> = {
  encode(value) {
    const bytes = new Uint8Array(CONTROL_BYTES + value.ranges.length * RANGE_BYTES);
    const view = viewOf(bytes);
    view.setBigUint64(0, value.pageSize, true);
    view.setUint32(8, value.ranges.length, true);
    value.ranges.forEach((range, i) => {
      view.setBigUint64(CONTROL_BYTES + i * RANGE_BYTES, range.iova, true);
      view.setBigUint64(CONTROL_BYTES + i * RANGE_BYTES + 8, range.length, true);
    });
    return bytes;
  },
  decode(bytes) {
    if (bytes.length < CONTROL_BYTES) return refuseLength('DMA_LOGGING_START', bytes, CONTROL_BYTES);
    const view = viewOf(bytes);
    const pageSize = view.getBigUint64(0, true);
    const count = view.getUint32(8, true);
    if (!isPowerOfTwo(pageSize)) return refuse(`DMA_LOGGING_START: page size ${pageSize} is no power of two`);
    if (bytes.length !== CONTROL_BYTES + count * RANGE_BYTES) {
      return refuse(`DMA_LOGGING_START: ${count} ranges in ${bytes.length - CONTROL_BYTES} bytes`);
    }
    const ranges: DmaLoggingRange[] = [];
    for (let at = CONTROL_BYTES; at < bytes.length; at += RANGE_BYTES) {
      const range = { iova: view.getBigUint64(at, true), length: view.getBigUint64(at + 8, true) };
      const wrong = wrongRange(range);
      if (wrong !== undefined) return refuse(`DMA_LOGGING_START: ${wrong}`);
      ranges.push(range);
    }
    return accept({ pageSize, ranges });
  },
};

/** Data of the request DMA_LOGGING_REPORT. */
export const dmaLoggingReportRequest: Codec<DmaLoggingReport> = {
  encode: (value) => encodeReport(value, REPORT_BYTES),
  decode(bytes) {
    if (bytes.length > REPORT_BYTES)
      return refuse(`DMA_LOGGING_REPORT: ${bytes.length} bytes, must be ${REPORT_BYTES}`);
    return decodeReport('DMA_LOGGING_REPORT', bytes);
  },
};

/** Data of the reply to DMA_LOGGING_REPORT. */
export const dmaLoggingReportReply: Codec<DmaLoggingBitmap> = {
  encode(value) {
    const bytes = encodeReport(value, REPORT_BYTES + value.bitmap.length);
    bytes.set(value.bitmap, REPORT_BYTES);
    return bytes;
  },
  decode(bytes) {
    const report = decodeReport('DMA_LOGGING_REPORT reply', bytes);
    if (!report.ok) return report;
    const { iova, length, pageSize } = report.value;
    const bitmap = bytes.subarray(REPORT_BYTES);
    const expected = dmaLoggingBitmapBytes(length, pageSize);
    if (BigInt(bitmap.length) !== expected) {
      return refuse(`DMA_LOGGING_REPORT reply: a bitmap of ${bitmap.length} bytes, must be ${expected}`);
    }
    return accept({ iova, length, pageSize, bitmap });
  },
};

function encodeReport(value: DmaLoggingReport, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  view.setBigUint64(0, value.iova, true);
  view.setBigUint64(8, value.length, true);
  view.setBigUint64(16, value.pageSize, true);
  return bytes;
}

function decodeReport(what: string, bytes: Uint8Array): Decoded<DmaLoggingReport> {
  if (bytes.length < REPORT_BYTES) return refuseLength(what, bytes, REPORT_BYTES);
  const view = viewOf(bytes);
  const iova = view.getBigUint64(0, true);
  const length = view.getBigUint64(8, true);
  const pageSize = view.getBigUint64(16, true);
  const wrong = wrongRange({ iova, length });
  if (wrong !== undefined) return refuse(`${what}: ${wrong}`);
  if (!isPowerOfTwo(pageSize)) return refuse(`${what}: page size ${pageSize} is no power of two`);
  return accept({ iova, length, pageSize });
}

function wrongRange(range: DmaLoggingRange): string | undefined {
  if (range.length === 0n) return 'a range of no bytes';
  return range.iova + range.length > ADDRESS_END ? 'a range goes beyond 2^64' : undefined;
}

function isPowerOfTwo(value: bigint): boolean {
  return value !== 0n && (value & (value - 1n)) === 0n;
}
