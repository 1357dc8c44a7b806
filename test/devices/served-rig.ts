import { Access, DenseRamBlock, PageCursor } from '../../src/memory/index.ts';
import {
  type Descriptor,
  type PciDevice,
  VfioUserClient,
  VfioUserServer,
} from '../../src/vfio-user/index.ts';
import { createChannelPair, FakeFiles } from '../vfio-user/memory-channel.ts';

/** RAM that is in a file of `files`. */
class FileBlock extends DenseRamBlock {
  readonly share: { readonly descriptor: Descriptor; readonly offset: bigint };

  constructor(files: FakeFiles, pages: number) {
    super(pages);
    this.share = { descriptor: files.share('ram', this), offset: 0n };
  }
}

/** A device behind a server, and a client with 16 pages of RAM mapped at `iova`. */
export interface ServedRig {
  readonly client: VfioUserClient;
  readonly server: VfioUserServer;
  readonly files: FakeFiles;
  /** Numbers of the eventfds that were rung. */
  readonly rung: number[];
  /** The bytes of a page of RAM. */
  page(number: number): Uint8Array;
  /** An 8-byte register of BAR 0. */
  read8(offset: number): Promise<bigint>;
  write8(offset: number, value: bigint): Promise<void>;
  close(): Promise<void>;
}

/** Where the RAM is for the device. */
export const IOVA = 0x12_3456_7000n;

const PAGES = 16;

/** `shared`: by descriptor, otherwise by messages. */
export async function served(device: PciDevice, shared: boolean): Promise<ServedRig> {
  const files = new FakeFiles();
  const rung: number[] = [];
  const server = new VfioUserServer({
    device,
    files,
    eventfds: { accepts: () => true, signal: ({ number }) => void rung.push(number) },
  });
  const client = await VfioUserClient.connect({
    open: () => {
      const [near, far] = createChannelPair();
      server.accept(far);
      return Promise.resolve(near);
    },
  });
  const block = shared ? new FileBlock(files, PAGES) : new DenseRamBlock(PAGES);
  const iova = Number(IOVA >> 12n);
  client.map({ iova, pages: PAGES, target: 0, access: Access.ReadWrite }, { block, page: 0 });
  await client.barrier();
  const cursor = new PageCursor();
  return {
    client,
    server,
    files,
    rung,
    page: (number) => {
      block.locate(number, cursor, true);
      return cursor.bytes();
    },
    read8: async (offset) => {
      const bytes = await client.readRegion(0, BigInt(offset), 8);
      return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    },
    write8: async (offset, value) => {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, value, true);
      await client.writeRegion(0, BigInt(offset), bytes);
    },
    close: async () => {
      await client.close();
      await server.close();
    },
  };
}
