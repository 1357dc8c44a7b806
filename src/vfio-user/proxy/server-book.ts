import { addressOf, bytesOf } from '../../memory/index.ts';
import { type Reply, type ReplyTaken, NO_DESCRIPTORS } from '../command.ts';
import { type Descriptor, releaseAll } from '../descriptor.ts';
import {
  Command,
  DEFAULT_MAX_DMA_MAPS,
  dmaMapRequest,
  dmaUnmapRequest,
  Errno,
  errnoName,
} from '../wire/index.ts';
import { describeMapping, ServerMapping, type VmmMapping } from './mappings.ts';
import type { Reports } from './reports.ts';

/** What a server book needs of its owner. */
export interface ServerBookOwner {
  readonly reports: Reports;
  /** Sends a command to the server. Payload and descriptors stay the caller's. */
  send(command: number, payload: Uint8Array, descriptors: readonly Descriptor[], taken: ReplyTaken): void;
  /** The server has decided about a mapping of the VMM: 0 or an errno. May be told again, which then means nothing. */
  settled(mapping: VmmMapping, errno: number): void;
  /** An answer of the server has been dealt with. */
  answered(): void;
  /** What the server holds is no longer known; `why` is a sentence. */
  distrust(why: string): void;
}

/** The server's side: what it was told, and how many mappings it holds once everything on its way is answered. */
export class ServerBook {
  /** Mappings that the server can hold. */
  maximum: number = DEFAULT_MAX_DMA_MAPS;
  readonly #owner: ServerBookOwner;
  #size = 0;
  #mapsOnTheWay = 0;

  constructor(owner: ServerBookOwner) {
    this.#owner = owner;
  }

  /** Mappings that the server holds or is to hold. */
  get size(): number {
    return this.#size;
  }

  /** DMA_MAPs that the server has not answered. */
  get mapsOnTheWay(): number {
    return this.#mapsOnTheWay;
  }

  get isFull(): boolean {
    return this.#size >= this.maximum;
  }

  /** There are to be `count` more mappings, or fewer. */
  reserve(count: number): void {
    this.#size += count;
  }

  /** Sends a mapping, for which there is a place reserved. `descriptor` stays the caller's. */
  map(mapping: ServerMapping, descriptor: Descriptor | undefined): void {
    mapping.state = 'sent';
    this.#mapsOnTheWay++;
    const { iova, pages, offset, access } = mapping;
    const payload = dmaMapRequest.encode({
      read: (access & 1) !== 0,
      write: (access & 2) !== 0,
      offset: addressOf(offset),
      address: addressOf(iova),
      size: bytesOf(pages),
    });
    const descriptors = descriptor === undefined ? NO_DESCRIPTORS : [descriptor];
    this.#owner.send(Command.DMA_MAP, payload, descriptors, (reply) => this.#mapped(mapping, reply));
  }

  /** Sends the exact unmap of a mapping; `done` is called when it has been answered. */
  unmap(mapping: ServerMapping, done: () => void): void {
    const { iova, pages } = mapping;
    const range = { address: addressOf(iova), size: bytesOf(pages) };
    const request = dmaUnmapRequest.encode({ dirtyBitmap: false, all: false, ...range });
    this.#sendUnmap(mapping, request, ({ errno }) => {
      if (errno !== 0) this.#unmapRefused(mapping, errno);
      done();
    });
  }

  /**
   * Sends `request`, an exact unmap of a mapping that asks for the bitmap of pages written. A server may refuse that; it
   * then holds the mapping as before.
   */
  unmapForBitmap(mapping: ServerMapping, request: Uint8Array, done: (reply: Reply) => void): void {
    this.#sendUnmap(mapping, request, (reply) => {
      if (reply.errno !== 0 && mapping.state !== 'refused') {
        mapping.leaving = false;
        this.#size++;
      }
      done(reply);
    });
  }

  #sendUnmap(mapping: ServerMapping, request: Uint8Array, answered: (reply: Reply) => void): void {
    mapping.leaving = true;
    this.#size--;
    this.#owner.send(Command.DMA_UNMAP, request, NO_DESCRIPTORS, (reply) => {
      if (reply === undefined) return;
      releaseAll(reply.descriptors);
      this.#owner.reports.told('unmap', mapping, reply.errno);
      answered(reply);
      this.#owner.answered();
    });
  }

  #mapped(mapping: ServerMapping, reply: Reply | undefined): void {
    if (reply === undefined) return;
    releaseAll(reply.descriptors);
    this.#mapsOnTheWay--;
    this.#owner.reports.told('map', mapping, reply.errno);
    if (reply.errno === 0) this.#accepted(mapping);
    else this.#refused(mapping, reply.errno);
    mapping.answered?.();
    this.#owner.answered();
  }

  #accepted(mapping: ServerMapping): void {
    mapping.state = 'held';
    if (mapping.unmapErrno !== 0) this.#unmapRefused(mapping, mapping.unmapErrno);
    for (const part of mapping.parts) if (part.server === mapping) this.#owner.settled(part, 0);
  }

  #refused(mapping: ServerMapping, errno: number): void {
    mapping.state = 'refused';
    const parts = mapping.parts.filter((part) => part.server === mapping);
    if (mapping.leaving) {
      for (const part of parts) this.#owner.settled(part, errno);
      return;
    }
    this.#size--;
    if (parts.length > 1) this.#mapSeparately(parts);
    else for (const part of parts) this.#lose(part, errno);
  }

  /** Only what is wrong with one part is to be refused with that part. */
  #mapSeparately(parts: readonly VmmMapping[]): void {
    for (const part of parts) {
      if (this.isFull) {
        this.#lose(part, Errno.ENOSPC);
      } else {
        this.#size++;
        this.map(new ServerMapping([part]), part.file?.descriptor);
      }
    }
  }

  #lose(part: VmmMapping, errno: number): void {
    if (part.errno === 0) {
      const place = describeMapping(part);
      this.#owner.distrust(
        `it refused (${errnoName(errno)}) to map again ${place}, which remained of a merged mapping: do without merging`,
      );
      return;
    }
    this.#owner.settled(part, errno);
  }

  #unmapRefused(mapping: ServerMapping, errno: number): void {
    if (mapping.state === 'refused') return;
    if (mapping.state === 'sent') {
      mapping.unmapErrno = errno;
      return;
    }
    const place = describeMapping(mapping);
    this.#owner.distrust(
      `it refused (${errnoName(errno)}) to unmap ${place}, which it had mapped: what it still reaches is not known`,
    );
  }
}
