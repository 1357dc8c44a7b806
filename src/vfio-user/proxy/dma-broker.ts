import type { Observer } from '../../memory/index.ts';
import type { IncomingCommand } from '../command.ts';
import { type Descriptor, releaseAll } from '../descriptor.ts';
import type { SharedFiles } from '../platform.ts';
import { Errno } from '../wire/index.ts';
import { type AskedUnmap, readMap, readUnmap } from './dma-requests.ts';
import type { ProxyEvents } from './events.ts';
import { HeldFiles } from './held-files.ts';
import { isMergeable, MapBatch, mergeNeighbours } from './map-batch.ts';
import {
  describeMapping,
  type MappingPlace,
  type ProxyMapping,
  publicMapping,
  ServerMapping,
  VmmMapping,
} from './mappings.ts';
import { OrderedAnswers, type PendingAnswer } from './ordered-answers.ts';
import { Reports } from './reports.ts';
import { ServerBook, type ServerBookOwner } from './server-book.ts';
import { VmmLedger } from './vmm-ledger.ts';

/** What a broker is made of. */
export interface DmaBrokerOptions {
  readonly send: ServerBookOwner['send'];
  readonly distrust: ServerBookOwner['distrust'];
  readonly files: SharedFiles | undefined;
  readonly events: ProxyEvents | undefined;
  readonly observer: Observer | undefined;
  readonly merge: boolean;
}

/** Mappings collected at most: what a merged mapping can have of them, all unmapped when one is. */
const MOST_COLLECTED = 1024;
/** Bytes of an unmap's reply. */
const UNMAP_BYTES = 24;

/**
 * Takes a VMM's DMA_MAP and DMA_UNMAP by the rules of VFIO type1, version 2, and gives a server what it accepts by the
 * words of vfio-user: unmaps that name one mapping, nothing that overlaps, no more than it can hold.
 *
 * Nothing waits for an answer: what a command means is decided by what the VMM has asked for so far, as if the server
 * would accept all of it. Where it does not, the VMM gets the errno, and so does a repetition of the same map.
 *
 * A map that is there already, just so, is accepted and not sent. QEMU's virtio-iommu maps everything a second time when
 * an endpoint joins a domain; a refusal would be logged for each mapping, and a VMM that undid what it thinks failed
 * would lose it. Any other overlap is refused with EEXIST.
 */
export class DmaBroker {
  readonly #options: DmaBrokerOptions;
  readonly #files: HeldFiles;
  readonly #asked: VmmLedger = new VmmLedger();
  readonly #book: ServerBook;
  readonly #batch: MapBatch | undefined;
  readonly #answers: OrderedAnswers = new OrderedAnswers();
  readonly #reports: Reports;
  #flushing = false;

  constructor(options: DmaBrokerOptions) {
    this.#options = options;
    this.#files = new HeldFiles(options.files, options.merge);
    this.#batch = options.merge ? new MapBatch() : undefined;
    this.#reports = new Reports(options.events, options.observer);
    this.#book = new ServerBook({
      reports: this.#reports,
      send: options.send,
      distrust: options.distrust,
      settled: (mapping, errno) => this.#settled(mapping, errno),
      answered: () => this.#answered(),
    });
  }

  /** Mappings that the server can hold at one time. */
  set maximum(mappings: number) {
    this.#book.maximum = mappings;
  }

  /** Takes a DMA_MAP. */
  map(command: IncomingCommand): void {
    const answer = this.#answers.open(command);
    const asked = readMap(command);
    const descriptor = command.descriptors[0];
    if (typeof asked === 'number') {
      this.#refuse('map', answer, asked);
    } else {
      const file = descriptor === undefined ? undefined : this.#files.use(descriptor, asked.access);
      this.#map({ ...asked, file }, answer, descriptor);
    }
    releaseAll(command.descriptors);
    this.#answers.flush();
  }

  /** Takes a DMA_UNMAP. */
  unmap(command: IncomingCommand): void {
    this.flush();
    const answer = this.#answers.open(command);
    const asked = readUnmap(command);
    if (typeof asked === 'number') this.#refuse('unmap', answer, asked);
    else if (asked.dirtyBitmap) this.#unmapForBitmap(asked, answer);
    else this.#unmap(asked, answer);
    releaseAll(command.descriptors);
    this.#answers.flush();
  }

  /** Sends maps that were collected. Every other command goes behind them. */
  flush(): void {
    if (this.#batch === undefined || this.#batch.parts === 0) return;
    for (const mapping of this.#batch.take()) this.#book.map(mapping, mapping.file?.descriptor);
  }

  /** Lets go of descriptors. */
  close(): void {
    this.#batch?.take();
    this.#files.clear();
  }

  /** What the VMM asked for and the server accepted, ascending. */
  *mappings(): Iterable<ProxyMapping> {
    for (const mapping of this.#asked.mappings()) if (mapping.errno === 0) yield publicMapping(mapping);
  }

  /** What the server was told and accepted, ascending. */
  *serverMappings(): Iterable<ProxyMapping> {
    let last: ServerMapping | undefined;
    for (const { server } of this.#asked.mappings()) {
      if (server === undefined || server === last || server.state !== 'held') continue;
      last = server;
      yield publicMapping(server);
    }
  }

  #map(place: MappingPlace, answer: PendingAnswer, descriptor: Descriptor | undefined): void {
    const held = this.#asked.first(place.iova, place.iova + place.pages);
    if (held !== undefined) {
      this.#files.done(place.file);
      if (held.isSame(place)) held.whenSettled((errno) => this.#decideMap(place, answer, errno));
      else this.#decideMap(place, answer, Errno.EEXIST);
      return;
    }
    const mapping = new VmmMapping(place);
    const batch = this.#batch !== undefined && isMergeable(mapping) ? this.#batch : undefined;
    if (this.#book.isFull && batch?.joins(mapping) !== true) {
      this.#files.done(place.file);
      this.#reports.full(place, this.#book.maximum);
      this.#decideMap(place, answer, Errno.ENOSPC);
      return;
    }
    this.#asked.insert(mapping);
    mapping.whenSettled((errno) => this.#decideMap(place, answer, errno));
    if (batch === undefined) {
      this.#book.reserve(1);
      this.#book.map(new ServerMapping([mapping]), descriptor);
      return;
    }
    this.#book.reserve(batch.add(mapping));
    if (batch.parts >= MOST_COLLECTED) this.flush();
    else if (this.#book.mapsOnTheWay === 0) void this.#flushSoon();
  }

  /** Collects for as long as messages that have arrived are handed over; then, while maps are on their way, until they are answered. */
  async #flushSoon(): Promise<void> {
    if (this.#flushing) return;
    this.#flushing = true;
    await Promise.resolve();
    this.#flushing = false;
    this.flush();
  }

  #settled(mapping: VmmMapping, errno: number): void {
    if (errno !== 0 && mapping.errno === undefined && !mapping.gone) {
      this.#asked.remove(mapping);
      mapping.gone = true;
      this.#files.done(mapping.file);
    }
    mapping.settle(errno);
  }

  #answered(): void {
    if (this.#book.mapsOnTheWay === 0) this.flush();
    this.#answers.flush();
  }

  #unmap({ start, end }: AskedUnmap, answer: PendingAnswer): void {
    if (this.#asked.bisects(start, end)) {
      this.#refuse('unmap', answer, Errno.EINVAL);
      return;
    }
    const leaving = this.#asked.within(start, end);
    const servers = [...new Set(leaving.map(({ server }) => server as ServerMapping))];
    // The answer is given by the last of what it waits for, which may be the end of this function.
    let waiting = 1;
    const echo = answer.command.payload.slice(0, UNMAP_BYTES);
    const done = (): void => {
      if (--waiting > 0) return;
      const count = leaving.filter((mapping) => !isRefused(mapping)).length;
      this.#reports.decided('unmap', echo, 0, count);
      this.#answers.settle(answer, 0, echo);
    };
    for (const mapping of leaving) this.#leave(mapping);
    waiting += servers.length;
    for (const server of servers) this.#book.unmap(server, done);
    // What remains goes behind all unmaps: by then the server has the room.
    const remainders = servers.flatMap(({ parts }) => mergeNeighbours(parts.filter(({ gone }) => !gone)));
    waiting += remainders.length;
    for (const remainder of remainders) this.#mapRemainder(remainder, done);
    for (const { file } of leaving) this.#files.done(file);
    done();
  }

  /** A bitmap is of one mapping: those of several cannot be put together without knowing the server's pages. */
  #unmapForBitmap({ start, end }: AskedUnmap, answer: PendingAnswer): void {
    const leaving = this.#asked.bisects(start, end) ? [] : this.#asked.within(start, end);
    const [mapping] = leaving;
    const server = mapping?.server;
    if (mapping === undefined || leaving.length > 1 || server?.parts.length !== 1) {
      this.#refuse('unmap', answer, Errno.EOPNOTSUPP);
      return;
    }
    const request = answer.command.payload.slice();
    this.#leave(mapping);
    this.#book.unmapForBitmap(server, request, ({ errno, payload }) => {
      if (errno === 0 || isRefused(mapping)) this.#files.done(mapping.file);
      else this.#stay(mapping);
      this.#reports.decided('unmap', request, errno, errno === 0 ? 1 : 0);
      this.#answers.settle(answer, errno, payload);
    });
  }

  #leave(mapping: VmmMapping): void {
    this.#asked.remove(mapping);
    mapping.gone = true;
    this.#reports.roomAgain();
  }

  /** The server kept a mapping that was to leave. */
  #stay(mapping: VmmMapping): void {
    if (this.#asked.first(mapping.iova, mapping.iova + mapping.pages) !== undefined) {
      this.#options.distrust(
        `it kept ${describeMapping(mapping)}, which the VMM has unmapped for its bitmap and mapped anew`,
      );
      return;
    }
    mapping.gone = false;
    this.#asked.insert(mapping);
  }

  /** Maps anew what remains of a merged mapping. */
  #mapRemainder(remainder: ServerMapping, answered: () => void): void {
    if (this.#book.isFull) {
      this.#options.distrust(
        `it can hold ${this.#book.maximum} mappings, too few to take a merged mapping apart: do without merging`,
      );
      return;
    }
    this.#book.reserve(1);
    remainder.answered = answered;
    this.#book.map(remainder, remainder.file?.descriptor);
  }

  #decideMap(place: MappingPlace, answer: PendingAnswer, errno: number): void {
    this.#reports.mapped(place, errno);
    this.#answers.settle(answer, errno);
  }

  #refuse(op: 'map' | 'unmap', answer: PendingAnswer, errno: number): void {
    this.#reports.decided(op, answer.command.payload, errno, 0);
    this.#answers.settle(answer, errno);
  }
}

/** Whether the server has refused it. */
function isRefused({ errno }: VmmMapping): boolean {
  return errno !== undefined && errno !== 0;
}
