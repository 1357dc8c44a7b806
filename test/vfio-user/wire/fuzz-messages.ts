/** Valid messages with random contents, of every command. */
import {
  Command,
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
  versionReply,
  versionRequest,
} from '../../../src/vfio-user/wire/index.ts';
import type { Random } from './fuzz-random.ts';

/** Makes the payloads of one command. */
export interface Recipe {
  readonly command: number;
  request(random: Random): Uint8Array;
  reply(random: Random): Uint8Array;
  /** Descriptors that such a command may come with. */
  readonly requestDescriptors: number;
  /** Descriptors that such a reply may come with. */
  readonly replyDescriptors: number;
}

const NOTHING = new Uint8Array(0);
const PAGE = 0x1000n;

function recipe(
  command: number,
  request: (random: Random) => Uint8Array,
  reply: (random: Random) => Uint8Array = () => NOTHING,
  descriptors: { readonly request?: number; readonly reply?: number } = {},
): Recipe {
  return {
    command,
    request,
    reply,
    requestDescriptors: descriptors.request ?? 0,
    replyDescriptors: descriptors.reply ?? 0,
  };
}

function range(random: Random): { address: bigint; size: bigint } {
  const address = BigInt(random.below(0x10_0000)) * PAGE;
  return { address, size: PAGE << BigInt(random.below(19)) };
}

function access(random: Random): { offset: bigint; region: number; count: number } {
  return {
    offset: BigInt(random.below(0x2000)),
    region: random.below(9),
    count: random.pick([1, 2, 4, 8, 256]),
  };
}

function regionData(random: Random, most = 300): ReturnType<typeof access> & { data: Uint8Array } {
  const data = random.bytes(random.below(most + 1));
  return { ...access(random), count: data.length, data };
}

function dmaData(random: Random): { address: bigint; count: bigint; data: Uint8Array } {
  const data = random.bytes(random.below(300));
  return { address: BigInt(random.u32()), count: BigInt(data.length), data };
}

function dmaAccess(random: Random): { address: bigint; count: bigint } {
  return { address: BigInt(random.u32()), count: BigInt(random.below(0x2000)) };
}

function version(random: Random): Parameters<typeof versionRequest.encode>[0] {
  return {
    major: random.below(3),
    minor: random.below(4),
    capabilities: {
      maxMsgFds: random.below(32),
      maxDataXferSize: random.u32(),
      maxDmaMaps: random.below(0x1_0000),
      pgsizes: random.u64() & ~0xfffn,
      ...(random.bool() ? { writeMultiple: random.bool() } : {}),
      ...(random.bool() ? { migration: { pgsize: 4096, maxBitmapSize: random.u32() } } : {}),
      ...(random.bool() ? { twinSocket: { supported: random.bool(), fdIndex: 0 } } : {}),
      ...(random.chance(1, 4) ? { viommu: { sameFile: random.bool() } } : {}),
      ...(random.chance(1, 4)
        ? { other: { 'ü%"\\': [random.below(9), null, JSON.parse('{"__proto__":1}'), '\ud800'] } }
        : {}),
    },
  };
}

function feature(random: Random, isReply: boolean): Parameters<typeof deviceFeatureRequest.encode>[0] {
  const number = random.pick([...Object.values(Feature), random.below(0x1_0000)]);
  const data = featureData(random, number, isReply);
  const set = random.bool();
  return { argsz: 8 + data.length, feature: number, get: !set, set, probe: random.chance(1, 4), data };
}

function featureData(random: Random, number: number, isReply: boolean): Uint8Array {
  const pageSize = 1n << BigInt(random.below(24));
  const report = { iova: BigInt(random.u32()), length: pageSize * BigInt(1 + random.below(200)), pageSize };
  switch (number) {
    case Feature.DMA_LOGGING_START: {
      const ranges = Array.from({ length: random.below(4) }, () => ({
        iova: BigInt(random.u32()),
        length: BigInt(1 + random.below(0x10_0000)),
      }));
      return dmaLoggingControl.encode({ pageSize, ranges });
    }
    case Feature.DMA_LOGGING_REPORT: {
      if (!isReply) return dmaLoggingReportRequest.encode(report);
      const words = Math.ceil(Number(report.length / pageSize) / 64);
      return dmaLoggingReportReply.encode({ ...report, bitmap: random.bytes(words * 8) });
    }
    default:
      return migrationSupport.encode({ stopCopy: true, p2p: random.bool(), preCopy: random.bool() });
  }
}

/** A recipe for each command, those that carry most of the traffic more than once. */
export const RECIPES: readonly Recipe[] = [
  recipe(
    Command.VERSION,
    (random) => versionRequest.encode(version(random)),
    (random) => versionReply.encode(version(random)),
    { reply: 1 },
  ),
  ...Array.from({ length: 4 }, () =>
    recipe(
      Command.DMA_MAP,
      (random) =>
        dmaMapRequest.encode({
          ...range(random),
          read: random.bool(),
          write: random.bool(),
          sameFile: random.chance(1, 4),
          offset: BigInt(random.below(0x10_0000)) * PAGE,
        }),
      undefined,
      { request: 1 },
    ),
  ),
  ...Array.from({ length: 3 }, () =>
    recipe(
      Command.DMA_UNMAP,
      (random) => {
        const all = random.chance(1, 20);
        return dmaUnmapRequest.encode({
          dirtyBitmap: !all && random.chance(1, 20),
          all,
          ...(all ? { address: 0n, size: 0n } : range(random)),
        });
      },
      (random) => dmaUnmapReply.encode({ dirtyBitmap: false, all: false, ...range(random) }),
    ),
  ),
  recipe(
    Command.DEVICE_GET_INFO,
    () => deviceInfoRequest.encode({ argsz: 16 }),
    (random) => deviceInfoReply.encode({ reset: random.bool(), pci: true, regions: 9, irqs: 5 }),
  ),
  recipe(
    Command.DEVICE_GET_REGION_INFO,
    (random) => regionInfoRequest.encode({ argsz: random.pick([32, 80, 0x1000]), index: random.below(10) }),
    (random) =>
      regionInfoReply.encode({
        argsz: 32 + random.below(200),
        read: random.bool(),
        write: random.bool(),
        mmap: random.bool(),
        index: random.below(9),
        size: 0x10_0000n,
        offset: BigInt(random.u32()),
        ...(random.bool()
          ? {
              sparse: Array.from({ length: random.below(4) }, () => ({
                offset: BigInt(random.below(0x8_0000)),
                size: PAGE,
              })),
            }
          : {}),
      }),
    { reply: 1 },
  ),
  recipe(
    Command.DEVICE_GET_REGION_IO_FDS,
    (random) => regionIoFdsRequest.encode({ argsz: random.pick([16, 96]), index: random.below(9) }),
    (random) => {
      const subRegions = Array.from({ length: random.below(3) }, () => ({
        offset: BigInt(random.below(0x1000)),
        size: 4n,
        fdIndex: random.below(2),
        type: random.pick(['ioeventfd', 'ioregionfd'] as const),
        flags: random.below(4),
        data: random.u64(),
      }));
      return regionIoFdsReply.encode({ argsz: 96, index: 0, count: subRegions.length, subRegions });
    },
    { reply: 2 },
  ),
  recipe(
    Command.DEVICE_GET_IRQ_INFO,
    (random) => irqInfoRequest.encode({ argsz: 16, index: random.below(6) }),
    (random) =>
      irqInfoReply.encode({
        index: random.below(5),
        count: random.below(2048),
        eventfd: true,
        maskable: random.bool(),
        automasked: random.bool(),
        noresize: random.bool(),
      }),
  ),
  recipe(
    Command.DEVICE_SET_IRQS,
    (random) => {
      const data = random.pick([
        'none',
        'eventfd',
        Array.from({ length: 1 + random.below(9) }, () => random.bool()),
      ] as const);
      const count = typeof data === 'string' ? 1 + random.below(8) : data.length;
      const action = random.pick(['mask', 'unmask', 'trigger'] as const);
      return setIrqsRequest.encode({ index: random.below(5), start: random.below(4), count, action, data });
    },
    undefined,
    { request: 8 },
  ),
  ...Array.from({ length: 2 }, () =>
    recipe(
      Command.REGION_READ,
      (random) => regionReadRequest.encode(access(random)),
      (random) => regionReadReply.encode(regionData(random)),
    ),
  ),
  ...Array.from({ length: 2 }, () =>
    recipe(
      Command.REGION_WRITE,
      (random) => regionWriteRequest.encode(regionData(random)),
      (random) => regionWriteReply.encode(access(random)),
    ),
  ),
  recipe(
    Command.DMA_READ,
    (random) => dmaReadRequest.encode(dmaAccess(random)),
    (random) => dmaReadReply.encode(dmaData(random)),
  ),
  recipe(
    Command.DMA_WRITE,
    (random) => dmaWriteRequest.encode(dmaData(random)),
    (random) => dmaWriteReply.encode(random.chance(1, 3) ? undefined : dmaAccess(random)),
  ),
  recipe(Command.DEVICE_RESET, () => NOTHING),
  recipe(
    Command.REGION_WRITE_MULTI,
    (random) => {
      const writes = Array.from({ length: random.below(6) }, () => regionData(random, 8));
      return regionWriteMultiRequest.encode({ writes });
    },
    (random) => regionWriteMultiReply.encode({ completed: random.below(6) }),
  ),
  recipe(
    Command.DEVICE_FEATURE,
    (random) => deviceFeatureRequest.encode(feature(random, false)),
    (random) => deviceFeatureReply.encode(feature(random, true)),
  ),
  recipe(
    Command.MIG_DATA_READ,
    (random) => {
      const size = random.below(0x2000);
      return migDataReadRequest.encode({ argsz: 8 + size, size });
    },
    (random) => migDataReadReply.encode({ data: random.bytes(random.below(200)) }),
  ),
  recipe(Command.MIG_DATA_WRITE, (random) =>
    migDataWriteRequest.encode({ data: random.bytes(random.below(200)) }),
  ),
];
