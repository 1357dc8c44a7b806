import { type Mapping } from '../../../src/iommu/index.ts';
import { Access, DenseRamBlock, type ObservedEvent } from '../../../src/memory/index.ts';
import type { RamSlice } from '../../../src/vfio/index.ts';
import { VfioUserClient, type VfioUserClientOptions } from '../../../src/vfio-user/client/index.ts';
import type { Descriptor } from '../../../src/vfio-user/descriptor.ts';
import { type ChannelPairOptions, createChannelPair, type MemoryChannel } from '../memory-channel.ts';
import { FusedChannel } from './fused-channel.ts';
import { ScriptedServer, type ScriptedServerOptions } from './scripted-server.ts';

/** A client, and the servers that it was connected to one after the other. */
export interface Rig {
  readonly client: VfioUserClient;
  readonly servers: ScriptedServer[];
  /** The server's ends. */
  readonly channels: MemoryChannel[];
  /** Both ends of each connection, which can be made to break. */
  readonly fuses: { readonly client: FusedChannel; readonly server: FusedChannel }[];
  readonly events: ObservedEvent[];
  /** The server of the present connection. */
  readonly server: ScriptedServer;
}

export type RigOptions = ScriptedServerOptions &
  Omit<VfioUserClientOptions, 'open'> & {
    readonly pair?: ChannelPairOptions;
    /** What the second and later servers are like, when they are not like the first. */
    readonly later?: ScriptedServerOptions;
    /** Called before each channel is opened; what it throws, opening throws. */
    readonly opening?: (number: number) => Promise<void> | void;
  };

/** A client that is connected to a scripted server. */
export async function connected(options: RigOptions = {}): Promise<Rig> {
  const { pair, later, opening, ...rest } = options;
  const servers: ScriptedServer[] = [];
  const channels: MemoryChannel[] = [];
  const fuses: { client: FusedChannel; server: FusedChannel }[] = [];
  const events: ObservedEvent[] = [];
  let opened = 0;
  const client = await VfioUserClient.connect({
    name: 'the server',
    observer: { observe: (event) => events.push(event) },
    ...rest,
    open: async () => {
      await opening?.(++opened);
      const [near, far] = createChannelPair(pair);
      channels.push(far);
      const ends = { client: new FusedChannel(near), server: new FusedChannel(far) };
      fuses.push(ends);
      servers.push(new ScriptedServer(ends.server, servers.length === 0 ? options : (later ?? options)));
      return ends.client;
    },
  });
  return {
    client,
    servers,
    channels,
    fuses,
    events,
    get server() {
      return servers.at(-1) as ScriptedServer;
    },
  };
}

/** A mapping of `pages` pages at page `iova`. */
export function mapping(iova: number, pages = 1, access: Access = Access.ReadWrite): Mapping {
  return { iova, pages, target: 0x100 + iova, access };
}

/** RAM from page `page` of a block on. */
export function ram(page = 0, block: DenseRamBlock = BLOCK): RamSlice {
  return { block, page };
}

/** RAM that no test writes. */
export const BLOCK: DenseRamBlock = new DenseRamBlock(0x10_0000);

/** RAM in a file. */
export class SharedBlock extends DenseRamBlock {
  readonly share: { readonly descriptor: Descriptor; readonly offset: bigint };

  constructor(pages: number, descriptor: Descriptor, offset = 0n) {
    super(pages);
    this.share = { descriptor, offset };
  }
}

/** The error that `step` ends with, whether it throws or rejects. */
export async function errorOf(step: () => unknown): Promise<Error> {
  try {
    await step();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('expected an error');
}

/** Lets everything that is on its way arrive. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}
