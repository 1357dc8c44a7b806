import type { Channel } from '../../../src/vfio-user/channel.ts';
import { type Descriptor, releaseAll } from '../../../src/vfio-user/descriptor.ts';
import {
  Command,
  type DmaUnmap,
  dmaMapRequest,
  dmaUnmapRequest,
  type Header,
  HEADER_BYTES,
  readHeader,
  regionReadReply,
  regionReadRequest,
  regionWriteRequest,
  type SetIrqs,
  setIrqsRequest,
  type VersionMessage,
  versionReply,
  versionRequest,
  writeHeader,
} from '../../../src/vfio-user/wire/index.ts';

/** An answer as it came. */
export interface RawReply {
  readonly errno: number;
  readonly payload: Uint8Array;
  readonly descriptors: readonly Descriptor[];
}

/** A command of the server as it came. */
export interface RawCommand {
  readonly header: Header;
  readonly payload: Uint8Array;
}

/** What a command of the server is answered with. */
export interface RawAnswer {
  readonly errno?: number;
  readonly payload?: Uint8Array;
}

/** What a mapping is asked for with; page numbers. */
export interface MapPages {
  readonly offset?: number;
  readonly access?: 'r' | 'w' | 'rw' | 'none';
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** What QEMU 11 proposes. */
export const QEMU_PROPOSAL: VersionMessage = {
  major: 0,
  minor: 0,
  capabilities: {
    maxMsgFds: 16,
    maxDmaMaps: 65_535,
    maxDataXferSize: 1 << 20,
    pgsizes: 4096n,
    writeMultiple: true,
  },
};

/** A client that does what it is told and nothing more; it has its own framing. */
export class RawClient {
  readonly channel: Channel;
  /** Commands of the server that came. */
  readonly commands: RawCommand[] = [];
  /** Replies in the order in which they came, as identifiers. */
  readonly replied: number[] = [];
  /** Answers a command of the server; undefined leaves it unanswered. */
  serve: (command: RawCommand) => RawAnswer | undefined = () => undefined;
  /** Whether the server ended the connection. */
  closed = false;
  readonly #waiting: Map<number, (reply: RawReply) => void> = new Map();
  readonly #closing: (() => void)[] = [];
  #received: Uint8Array = new Uint8Array(0);
  #descriptors: Descriptor[] = [];
  #nextId = 0;

  constructor(channel: Channel) {
    this.channel = channel;
    channel.start({
      received: (bytes, descriptors) => this.#take(bytes, descriptors),
      idle: () => undefined,
      drained: () => undefined,
      closed: () => {
        this.closed = true;
        releaseAll(this.#descriptors.splice(0));
        for (const resolve of this.#closing) resolve();
      },
    });
  }

  /** Resolves when the server has ended the connection. */
  whenClosed(): Promise<void> {
    return this.closed ? Promise.resolve() : new Promise((resolve) => this.#closing.push(resolve));
  }

  /** Sends a command and resolves with its answer. `descriptors` stay the caller's. */
  ask(
    command: number,
    payload: Uint8Array = NOTHING,
    descriptors: readonly Descriptor[] = [],
  ): Promise<RawReply> {
    const id = this.send(command, payload, { descriptors });
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  /** Sends a command; its identifier. */
  send(
    command: number,
    payload: Uint8Array = NOTHING,
    options: { descriptors?: readonly Descriptor[]; noReply?: boolean } = {},
  ): number {
    const id = this.#nextId++ & 0xffff;
    const { noReply = false } = options;
    this.channel.send(
      frame({ id, command, type: 'command', noReply, errno: 0 }, payload),
      options.descriptors,
    );
    return id;
  }

  /** Answers a command of the server. */
  answer({ header }: RawCommand, { errno = 0, payload = NOTHING }: RawAnswer): void {
    this.channel.send(frame({ ...header, type: 'reply', noReply: false, errno }, payload));
  }

  /** Negotiates as QEMU does, unless told otherwise. */
  async version(proposal: VersionMessage = QEMU_PROPOSAL): Promise<VersionMessage | number> {
    const { errno, payload } = await this.ask(Command.VERSION, versionRequest.encode(proposal));
    if (errno !== 0) return errno;
    const reply = versionReply.decode(payload);
    if (!reply.ok) throw new Error(reply.reason);
    return reply.value;
  }

  /** Maps pages; the errno. The descriptor stays the caller's. */
  async map(page: number, pages: number, descriptor?: Descriptor, how: MapPages = {}): Promise<number> {
    const payload = mapPayload(page, pages, how);
    const { errno } = await this.ask(Command.DMA_MAP, payload, descriptor === undefined ? [] : [descriptor]);
    return errno;
  }

  /** Unmaps pages; the errno. */
  async unmap(page: number, pages: number): Promise<number> {
    const { errno } = await this.ask(Command.DMA_UNMAP, unmapPayload(page, pages));
    return errno;
  }

  /** Unmaps everything; the errno. */
  async unmapAll(): Promise<number> {
    const all: DmaUnmap = { all: true, dirtyBitmap: false, address: 0n, size: 0n };
    return (await this.ask(Command.DMA_UNMAP, dmaUnmapRequest.encode(all))).errno;
  }

  /** Reads a region; the bytes or the errno. */
  async read(region: number, offset: number | bigint, count: number): Promise<Uint8Array | number> {
    const request = regionReadRequest.encode({ region, offset: BigInt(offset), count });
    const { errno, payload } = await this.ask(Command.REGION_READ, request);
    if (errno !== 0) return errno;
    const reply = regionReadReply.decode(payload);
    if (!reply.ok) throw new Error(reply.reason);
    return reply.value.data;
  }

  /** Writes a region; the errno. */
  async write(region: number, offset: number | bigint, data: Uint8Array): Promise<number> {
    return (await this.ask(Command.REGION_WRITE, writePayload(region, offset, data))).errno;
  }

  /** DEVICE_SET_IRQS; the errno. Descriptors stay the caller's. */
  async setIrqs(request: SetIrqs, descriptors: readonly Descriptor[] = []): Promise<number> {
    return (await this.ask(Command.DEVICE_SET_IRQS, setIrqsRequest.encode(request), descriptors)).errno;
  }

  #take(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    const joined = new Uint8Array(this.#received.length + bytes.length);
    joined.set(this.#received);
    joined.set(bytes, this.#received.length);
    this.#received = joined;
    this.#descriptors.push(...descriptors);
    while (this.#received.length >= HEADER_BYTES) {
      const header = readHeader(this.#received, 0)!;
      if (this.#received.length < header.size) return;
      const payload = this.#received.slice(HEADER_BYTES, header.size);
      this.#received = this.#received.slice(header.size);
      // Messages with descriptors come alone.
      const own = this.#received.length === 0 ? this.#descriptors.splice(0) : [];
      this.#message(header, payload, own);
    }
  }

  #message(header: Header, payload: Uint8Array, descriptors: readonly Descriptor[]): void {
    if (header.type === 'reply') {
      this.replied.push(header.id);
      const resolve = this.#waiting.get(header.id);
      this.#waiting.delete(header.id);
      if (resolve === undefined) releaseAll(descriptors);
      else resolve({ errno: header.errno, payload, descriptors });
      return;
    }
    const command = { header, payload };
    this.commands.push(command);
    const answer = this.serve(command);
    if (answer !== undefined) this.answer(command, answer);
  }
}

/** DMA_MAP of pages. */
export function mapPayload(
  page: number,
  pages: number,
  { offset = 0, access = 'rw' }: MapPages = {},
): Uint8Array {
  return dmaMapRequest.encode({
    read: access.includes('r'),
    write: access.includes('w'),
    offset: BigInt(offset) * 4096n,
    address: BigInt(page) * 4096n,
    size: BigInt(pages) * 4096n,
  });
}

/** DMA_UNMAP of pages. */
export function unmapPayload(page: number, pages: number): Uint8Array {
  const address = BigInt(page) * 4096n;
  return dmaUnmapRequest.encode({ all: false, dirtyBitmap: false, address, size: BigInt(pages) * 4096n });
}

/** REGION_WRITE. */
export function writePayload(region: number, offset: number | bigint, data: Uint8Array): Uint8Array {
  return regionWriteRequest.encode({ region, offset: BigInt(offset), count: data.length, data });
}

/** A whole message. */
export function frame(header: Omit<Header, 'size'>, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  writeHeader(bytes, 0, { ...header, size: bytes.length });
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}
