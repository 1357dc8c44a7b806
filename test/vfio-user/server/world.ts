import type { ObservedEvent } from '../../../src/memory/index.ts';
import type { Descriptor } from '../../../src/vfio-user/descriptor.ts';
import {
  type DeviceContext,
  type DmaEvent,
  type HandledBar,
  type PciDevice,
  VfioUserServer,
  type VfioUserServerOptions,
} from '../../../src/vfio-user/server/index.ts';
import {
  type ChannelPairOptions,
  createChannelPair,
  FakeFiles,
  type MemoryChannel,
} from '../memory-channel.ts';
import { RawClient } from './raw-client.ts';

/** Eventfds that count how often each number was signalled. */
export class FakeEventfds {
  readonly rung: number[] = [];

  /** A descriptor whose number is negative is no eventfd. */
  accepts(descriptor: Descriptor): boolean {
    return descriptor.number >= 0;
  }

  signal(eventfd: Descriptor): void {
    if (eventfd.closed) throw new Error(`eventfd ${eventfd.number} is closed`);
    this.rung.push(eventfd.number);
  }
}

/** A server with what its tests look at. */
export interface World {
  readonly server: VfioUserServer;
  readonly files: FakeFiles;
  readonly eventfds: FakeEventfds;
  /** What the device was given. */
  readonly context: DeviceContext;
  readonly observed: ObservedEvent[];
  /** Events as short text. */
  readonly log: string[];
  /** The server's ends of the channels that were made. */
  readonly channels: MemoryChannel[];
  /** A client that has not negotiated. */
  connect(options?: ChannelPairOptions): RawClient;
  /** A client that has. */
  client(options?: ChannelPairOptions): Promise<RawClient>;
}

/** Builds a server; `device` is laid over a device without BARs. */
export function buildWorld(
  device: Partial<PciDevice> = {},
  options: Partial<VfioUserServerOptions> = {},
): World {
  const files = new FakeFiles();
  const eventfds = new FakeEventfds();
  const observed: ObservedEvent[] = [];
  const log: string[] = [];
  const channels: MemoryChannel[] = [];
  let context: DeviceContext | undefined;
  const server = new VfioUserServer({
    files,
    eventfds,
    observer: { observe: (event) => observed.push(event) },
    events: {
      connected: () => log.push('connected'),
      disconnected: ({ kind }) => log.push(`disconnected ${kind}`),
      mapped: (event) => log.push(`map ${textOf(event)}`),
      unmapped: (event) => log.push(`unmap ${textOf(event)}`),
    },
    ...options,
    device: {
      name: 'device under test',
      vendorId: 0x1234,
      deviceId: 0x5678,
      classCode: 0x010802,
      ...device,
      start: (given) => {
        context = given;
        device.start?.(given);
      },
    },
  });
  const connect = (pair?: ChannelPairOptions): RawClient => {
    const [here, there] = createChannelPair(pair);
    channels.push(there);
    server.accept(there);
    return new RawClient(here);
  };
  const client = async (pair?: ChannelPairOptions): Promise<RawClient> => {
    const raw = connect(pair);
    await raw.version();
    return raw;
  };
  return { server, files, eventfds, context: context!, observed, log, channels, connect, client };
}

function textOf({ iova, size, offset, access, count, result }: DmaEvent): string {
  const rest = offset === undefined ? '' : ` @0x${offset.toString(16)} ${['none', 'r', 'w', 'rw'][access!]}`;
  return `0x${iova.toString(16)}+0x${size.toString(16)}${rest} x${count} ${result}`;
}

/** A BAR of memory that only keeps what is written. */
export function plainBar(
  size: number,
  kind: HandledBar['kind'] = 'memory32',
): HandledBar & { bytes: Uint8Array } {
  const bytes = new Uint8Array(size);
  return {
    size,
    kind,
    bytes,
    read: (offset, data) => data.set(bytes.subarray(offset, offset + data.length)),
    write: (offset, data) => bytes.set(data, offset),
  };
}

/** Resolves after everything that is under way in memory has been delivered. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve));
  });
}
