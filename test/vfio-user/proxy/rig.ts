import {
  type Channel,
  Command,
  Connection,
  type Descriptor,
  dmaMapRequest,
  dmaUnmapRequest,
  type IncomingCommand,
  type Reply,
  type SharedFiles,
  type VersionMessage,
  versionReply,
  versionRequest,
} from '../../../src/vfio-user/index.ts';
import { VfioUserProxy, type VfioUserProxyOptions } from '../../../src/vfio-user/proxy/index.ts';
import {
  createChannelPair,
  type ChannelPairOptions,
  fakeDescriptor,
  type MemoryChannel,
} from '../memory-channel.ts';
import { StrictServer, type StrictServerOptions } from './strict-server.ts';

export const PAGE = 4096n;

/** What QEMU 11.1.3 proposes. */
export const QEMU_VERSION: VersionMessage = {
  major: 0,
  minor: 0,
  capabilities: {
    maxMsgFds: 16,
    maxDataXferSize: 1 << 20,
    maxDmaMaps: 65_535,
    pgsizes: PAGE,
    writeMultiple: true,
    migration: { pgsize: 4096, maxBitmapSize: 256 << 20 },
  },
};

/** Fake descriptors of the same number are the same file. */
export const numberedFiles: SharedFiles = {
  identify: ({ number }) => `${number}`,
  open: () => ({ errno: 'EINVAL', reason: 'a proxy opens nothing' }),
};

/** Everything that is on its way in memory has arrived. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** A map as a VMM sends it; numbers are pages. */
export interface Map {
  readonly iova: number;
  readonly pages?: number;
  readonly offset?: number;
  readonly access?: number;
  /** Number of the file's descriptor; undefined sends none. */
  readonly file?: number | undefined;
}

/** The VMM's end of a proxy. */
export class Vmm {
  readonly connection: Connection;

  constructor(channel: Channel, onCommand: (command: IncomingCommand) => void) {
    this.connection = new Connection(channel, { name: 'the proxy', onCommand });
  }

  async version(message: VersionMessage = QEMU_VERSION): Promise<VersionMessage> {
    const reply = await this.connection.request(Command.VERSION, versionRequest.encode(message));
    const decoded = versionReply.decode(reply.payload);
    if (!decoded.ok) throw new Error(`errno ${reply.errno}: ${decoded.reason}`);
    return decoded.value;
  }

  /** The errno. */
  async map({ iova, pages = 1, offset = 0, access = 3, file }: Map): Promise<number> {
    const payload = dmaMapRequest.encode({
      read: (access & 1) !== 0,
      write: (access & 2) !== 0,
      offset: BigInt(offset) * PAGE,
      address: BigInt(iova) * PAGE,
      size: BigInt(pages) * PAGE,
    });
    const descriptors: Descriptor[] = file === undefined ? [] : [fakeDescriptor(file)];
    const sent = this.connection.request(Command.DMA_MAP, payload, descriptors);
    for (const descriptor of descriptors) descriptor.release();
    return (await sent).errno;
  }

  /** The errno of an unmap of bytes. */
  async unmapBytes(address: bigint, size: bigint): Promise<number> {
    return (await this.unmapReply(address, size)).errno;
  }

  unmapReply(
    address: bigint,
    size: bigint,
    flags: { dirtyBitmap?: boolean; all?: boolean } = {},
  ): Promise<Reply> {
    const payload = dmaUnmapRequest.encode({ dirtyBitmap: false, all: false, ...flags, address, size });
    return this.connection.request(Command.DMA_UNMAP, payload);
  }

  /** The errno of an unmap of pages. */
  unmap(iova: number, pages = 1): Promise<number> {
    return this.unmapBytes(BigInt(iova) * PAGE, BigInt(pages) * PAGE);
  }
}

export interface RigOptions extends StrictServerOptions {
  readonly proxy?: Partial<Omit<VfioUserProxyOptions, 'upstream' | 'downstream'>>;
  readonly channels?: ChannelPairOptions;
  readonly onVmmCommand?: (command: IncomingCommand) => void;
}

/** A VMM, a proxy and a strict server, connected in memory. */
export function rig(options: RigOptions = {}): {
  vmm: Vmm;
  proxy: VfioUserProxy;
  server: StrictServer;
  channels: Record<'vmm' | 'upstream' | 'downstream' | 'server', MemoryChannel>;
} {
  const [vmmEnd, upstream] = createChannelPair(options.channels);
  const [downstream, serverEnd] = createChannelPair(options.channels);
  const proxy = new VfioUserProxy({ upstream, downstream, files: numberedFiles, ...options.proxy });
  const server = new StrictServer(serverEnd, options);
  const vmm = new Vmm(vmmEnd, options.onVmmCommand ?? ((command) => command.reply(command.payload)));
  return { vmm, proxy, server, channels: { vmm: vmmEnd, upstream, downstream, server: serverEnd } };
}
