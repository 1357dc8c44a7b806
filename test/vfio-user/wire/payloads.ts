import fc from 'fast-check';
import {
  type Codec,
  type DmaAccess,
  deviceFeatureReply,
  deviceFeatureRequest,
  deviceInfoReply,
  deviceInfoRequest,
  dmaLoggingBitmapBytes,
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
  LARGEST_DATA_XFER_SIZE,
  migDataReadReply,
  migDataReadRequest,
  migDataWriteReply,
  migDataWriteRequest,
  migrationDeviceState,
  migrationSupport,
  type RegionData,
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

const END = 1n << 64n;

const u16: fc.Arbitrary<number> = fc.integer({ min: 0, max: 0xffff });
const u32: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: 0, max: 16 }),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);
const u64: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 0n, max: 0x10_0000n }),
  fc.bigInt({ min: 0n, max: END - 1n }),
);
const bool: fc.Arbitrary<boolean> = fc.boolean();
const argszFrom = (least: number): fc.Arbitrary<number> => fc.integer({ min: least, max: 0xffff_ffff });
const bytes: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 64 });

/** First address and bytes that end at or before 2^64; `least` bytes at least. */
function range(least: bigint, most: bigint = END - 1n): fc.Arbitrary<{ first: bigint; size: bigint }> {
  return u64.chain((first) => {
    const room = END - first < most ? END - first : most;
    return fc
      .oneof(fc.constant(room), fc.bigInt({ min: least, max: room < least ? least : room }))
      .map((size) => ({ first, size }));
  });
}

const dmaMap = range(1n).chain(({ first, size }) =>
  fc.record(
    {
      read: bool,
      write: bool,
      sameFile: fc.constant(true),
      offset: fc.bigInt({ min: 0n, max: END - size }),
      address: fc.constant(first),
      size: fc.constant(size),
    },
    { requiredKeys: ['read', 'write', 'offset', 'address', 'size'] },
  ),
);

const unmapRange = range(1n).map(({ first, size }) => ({ all: false, address: first, size }));
const dmaUnmap = fc.oneof(
  fc.tuple(bool, unmapRange).map(([dirtyBitmap, rest]) => ({ dirtyBitmap, ...rest })),
  fc.constant({ dirtyBitmap: false, all: true, address: 0n, size: 0n }),
);

const regionAccess = range(0n, BigInt(LARGEST_DATA_XFER_SIZE)).chain(({ first, size }) =>
  fc.record({ offset: fc.constant(first), region: u32, count: fc.constant(Number(size)) }),
);
const regionData = (data: fc.Arbitrary<Uint8Array>): fc.Arbitrary<RegionData> =>
  fc
    .record({ offset: fc.bigInt({ min: 0n, max: END - 64n }), region: u32, data })
    .map((value) => ({ ...value, count: value.data.length }));

const dmaAccess: fc.Arbitrary<DmaAccess> = range(0n, BigInt(LARGEST_DATA_XFER_SIZE)).map(
  ({ first, size }) => ({
    address: first,
    count: size,
  }),
);
const dmaData = fc
  .record({ address: fc.bigInt({ min: 0n, max: END - 64n }), data: bytes })
  .map((value) => ({ ...value, count: BigInt(value.data.length) }));

const sparse = (size: bigint) =>
  fc.array(
    fc
      .bigInt({ min: 0n, max: size })
      .chain((offset) =>
        fc.record({ offset: fc.constant(offset), size: fc.bigInt({ min: 0n, max: size - offset }) }),
      ),
    { maxLength: 5 },
  );
const regionInfo = u64.chain((size) =>
  fc.record(
    {
      argsz: argszFrom(32),
      read: bool,
      write: bool,
      mmap: bool,
      index: u32,
      size: fc.constant(size),
      offset: u64,
      sparse: sparse(size),
    },
    { requiredKeys: ['argsz', 'read', 'write', 'mmap', 'index', 'size', 'offset'] },
  ),
);

const count = fc.integer({ min: 1, max: 0xffff });
const setIrqs = fc.oneof(
  fc.record({
    index: u32,
    start: u16,
    count,
    action: fc.constantFrom('mask' as const, 'unmask' as const, 'trigger' as const),
    data: fc.constantFrom('none' as const, 'eventfd' as const),
  }),
  fc
    .record({
      index: u32,
      start: u16,
      action: fc.constantFrom('mask' as const, 'unmask' as const, 'trigger' as const),
      data: fc.array(bool, { minLength: 1, maxLength: 40 }),
    })
    .map((value) => ({ ...value, count: value.data.length })),
  u32.map((index) => ({ index, start: 0, count: 0, action: 'trigger' as const, data: 'none' as const })),
);

const natural = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const json = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown);
const otherKey = fc
  .oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', 'é\ud800"\\'))
  .filter(
    (key) =>
      ![
        'max_msg_fds',
        'max_data_xfer_size',
        'max_dma_maps',
        'pgsizes',
        'write_multiple',
        'migration',
        'twin_socket',
      ].includes(key),
  );
const capabilities = fc.record(
  {
    maxMsgFds: natural,
    maxDataXferSize: natural,
    maxDmaMaps: natural,
    pgsizes: fc.oneof(
      fc.bigInt({ min: 0n, max: (1n << 53n) - 1n }),
      fc.bigInt({ min: 0n, max: (1n << 52n) - 1n }).map((pages) => pages << 12n),
    ),
    writeMultiple: bool,
    migration: fc.record({ pgsize: natural, maxBitmapSize: natural }, { requiredKeys: [] }),
    twinSocket: fc.record({ supported: bool, fdIndex: natural }, { requiredKeys: [] }),
    viommu: fc.record({ sameFile: bool }, { requiredKeys: [] }),
    other: fc
      .array(fc.tuple(otherKey, json), { minLength: 1, maxLength: 4 })
      .map((entries) => Object.fromEntries(entries) as Record<string, unknown>),
  },
  { requiredKeys: [] },
);
const version = fc.record({ major: u16, minor: u16, capabilities });

const deviceFeature = fc
  .record({ argsz: argszFrom(8), feature: u16, get: bool, set: bool, probe: bool, data: bytes })
  .filter(({ get, set, probe }) => probe || get !== set);
const loggingRange = range(1n).map(({ first, size }) => ({ iova: first, length: size }));
const pageSize = fc.nat({ max: 63 }).map((shift) => 1n << BigInt(shift));
const loggingBitmap = fc
  .record({
    iova: fc.bigInt({ min: 0n, max: END >> 1n }),
    pages: fc.integer({ min: 1, max: 500 }),
    shift: fc.nat({ max: 40 }),
  })
  .chain(({ iova, pages, shift }) => {
    const pageSize = 1n << BigInt(shift);
    const length = BigInt(pages) * pageSize;
    const size = Number(dmaLoggingBitmapBytes(length, pageSize));
    return fc.record({
      iova: fc.constant(iova),
      length: fc.constant(length),
      pageSize: fc.constant(pageSize),
      bitmap: fc.uint8Array({ minLength: size, maxLength: size }),
    });
  });

const subRegion = range(0n).chain(({ first, size }) =>
  fc.record({
    offset: fc.constant(first),
    size: fc.constant(size),
    fdIndex: u32,
    type: fc.constantFrom('ioeventfd' as const, 'ioregionfd' as const),
    flags: u32,
    data: u64,
  }),
);
const regionIoFds = fc
  .record({ argsz: argszFrom(16), index: u32, subRegions: fc.array(subRegion, { maxLength: 4 }) })
  .map((value) => ({ ...value, count: value.subRegions.length }));

const largestTransfer = fc.nat({ max: LARGEST_DATA_XFER_SIZE });

/** One codec, and values that it has to carry. */
export interface PayloadCase {
  readonly name: string;
  readonly codec: Codec<unknown>;
  readonly values: fc.Arbitrary<unknown>;
}

function payload<T>(name: string, codec: Codec<T>, values: fc.Arbitrary<T>): PayloadCase {
  return { name, codec: codec as Codec<unknown>, values };
}

/** Every codec of the wire. */
export const PAYLOADS: readonly PayloadCase[] = [
  payload('versionRequest', versionRequest, version),
  payload('versionReply', versionReply, version),
  payload('dmaMapRequest', dmaMapRequest, dmaMap),
  payload('dmaUnmapRequest', dmaUnmapRequest, dmaUnmap),
  payload(
    'dmaUnmapReply',
    dmaUnmapReply,
    fc.record({ dirtyBitmap: bool, all: bool, address: u64, size: u64 }),
  ),
  payload('deviceInfoRequest', deviceInfoRequest, fc.record({ argsz: argszFrom(16) })),
  payload('deviceInfoReply', deviceInfoReply, fc.record({ reset: bool, pci: bool, regions: u32, irqs: u32 })),
  payload('regionInfoRequest', regionInfoRequest, fc.record({ argsz: argszFrom(32), index: u32 })),
  payload('regionInfoReply', regionInfoReply, regionInfo),
  payload('regionIoFdsRequest', regionIoFdsRequest, fc.record({ argsz: argszFrom(16), index: u32 })),
  payload('regionIoFdsReply', regionIoFdsReply, regionIoFds),
  payload('irqInfoRequest', irqInfoRequest, fc.record({ argsz: argszFrom(16), index: u32 })),
  payload(
    'irqInfoReply',
    irqInfoReply,
    fc.record({ index: u32, count: u32, eventfd: bool, maskable: bool, automasked: bool, noresize: bool }),
  ),
  payload('setIrqsRequest', setIrqsRequest, setIrqs),
  payload('regionReadRequest', regionReadRequest, regionAccess),
  payload('regionReadReply', regionReadReply, regionData(bytes)),
  payload('regionWriteRequest', regionWriteRequest, regionData(bytes)),
  payload('regionWriteReply', regionWriteReply, regionAccess),
  payload(
    'regionWriteMultiRequest',
    regionWriteMultiRequest,
    fc.record({ writes: fc.array(regionData(fc.uint8Array({ maxLength: 8 })), { maxLength: 6 }) }),
  ),
  payload('regionWriteMultiReply', regionWriteMultiReply, fc.record({ completed: u32 })),
  payload('dmaReadRequest', dmaReadRequest, dmaAccess),
  payload('dmaReadReply', dmaReadReply, dmaData),
  payload('dmaWriteRequest', dmaWriteRequest, dmaData),
  payload('dmaWriteReply', dmaWriteReply, fc.option(dmaAccess, { nil: undefined })),
  payload('deviceFeatureRequest', deviceFeatureRequest, deviceFeature),
  payload('deviceFeatureReply', deviceFeatureReply, deviceFeature),
  payload(
    'dmaLoggingControl',
    dmaLoggingControl,
    fc.record({ pageSize, ranges: fc.array(loggingRange, { maxLength: 4 }) }),
  ),
  payload(
    'dmaLoggingReportRequest',
    dmaLoggingReportRequest,
    fc.tuple(loggingRange, pageSize).map(([range, pageSize]) => ({ ...range, pageSize })),
  ),
  payload('dmaLoggingReportReply', dmaLoggingReportReply, loggingBitmap),
  payload('migrationSupport', migrationSupport, fc.record({ stopCopy: bool, p2p: bool, preCopy: bool })),
  payload('migrationDeviceState', migrationDeviceState, fc.record({ state: fc.nat({ max: 7 }) })),
  payload(
    'migDataReadRequest',
    migDataReadRequest,
    largestTransfer.chain((size) => fc.record({ argsz: argszFrom(size + 8), size: fc.constant(size) })),
  ),
  payload('migDataReadReply', migDataReadReply, fc.record({ data: bytes })),
  payload('migDataWriteRequest', migDataWriteRequest, fc.record({ data: bytes })),
  payload('migDataWriteReply', migDataWriteReply, fc.constant(undefined)),
  payload('emptyPayload', emptyPayload, fc.constant(undefined)),
];
