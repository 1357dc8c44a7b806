import { Ledger, type Mapping } from '../../iommu/index.ts';
import { type Access, addressOf, bytesOf } from '../../memory/index.ts';
import type { RamSlice } from '../../vfio/index.ts';
import { ConnectionLostError } from '../close-reason.ts';
import type { Reply } from '../command.ts';
import type { Connection } from '../connection.ts';
import type { Descriptor } from '../descriptor.ts';
import { Command, dmaMapRequest, dmaUnmapRequest, Errno, errnoName } from '../wire/index.ts';
import { BlockPages } from './block-pages.ts';
import type { MappedRam } from './dma-responder.ts';
import { type Operation, OperationQueue } from './operation-queue.ts';
import { remedyFor } from './remedies.ts';
import { isShared } from './shared-ram.ts';
import { type Stretch, Stretches } from './stretches.ts';

/** Operations that the server may owe an answer for. More would not make it faster, only fill its queue. */
const ON_THE_WAY = 4096;

/** An operation that was sent. */
interface Sent extends Operation {
  readonly stretch: Stretch;
  /** Of a map: whether the ledger has it. It has not while what it replaces is still being unmapped. */
  readonly entered: boolean;
  /** The server's answer; undefined until it comes. */
  errno: number | undefined;
  /** Why, when it was refused here. */
  reason: string | undefined;
}

/** How a pipeline reaches the server. */
export interface PipelineOptions {
  /** The server's name for people. */
  readonly name: string;
  /** Whether descriptors are sent with mappings. */
  readonly descriptors: boolean;
  /** Operations that may wait to be sent; when there are more the connection is ended. */
  readonly maxWaiting: number;
}

/**
 * Maps and unmaps on their way to a server, and what it has of guest RAM.
 *
 * They are sent without waiting for each other's answers. Answers may come in any order; they take effect here in the
 * order of the operations, so that the ledger at any time is what a server may rightly use: a mapping from when it is
 * sent until the server has confirmed that it is gone.
 */
export class MappingPipeline implements MappedRam {
  readonly #connection: Connection;
  readonly #options: PipelineOptions;
  readonly #waiting: OperationQueue = new OperationQueue();
  /** What was sent, from `#firstSent` on, oldest first, answered or not. */
  #sent: Sent[] = [];
  #firstSent = 0;
  /** Maps among them that the ledger has not. */
  #notEntered = 0;
  readonly #ledger: Ledger = new Ledger();
  readonly #blocks: BlockPages = new BlockPages();
  readonly #stretches: Stretches = new Stretches();
  #pumping = false;
  #lost: ConnectionLostError | undefined;

  constructor(connection: Connection, options: PipelineOptions) {
    this.#connection = connection;
    this.#options = options;
    void connection.closed.then((reason) => this.#lose(new ConnectionLostError(options.name, reason)));
  }

  /** Operations that were sent and not answered in their turn. */
  get onTheWay(): number {
    return this.#sent.length - this.#firstSent;
  }

  /** Operations that were not sent yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** See `HostIommu.map`. Nothing happens when the connection is lost. */
  map(mapping: Mapping, ram: RamSlice): void {
    if (!this.#connection.isOpen) return;
    const { iova, pages, access } = mapping;
    this.#waiting.map(iova, pages, this.#blocks.number(ram), access);
    this.#added();
  }

  /** See `HostIommu.unmap`. Nothing happens when the connection is lost. */
  unmap(iova: number, pages: number): void {
    if (!this.#connection.isOpen) return;
    this.#waiting.unmap(iova, pages);
    this.#added();
  }

  /** See `HostIommu.barrier`. Rejects with ConnectionLostError when the connection is lost. */
  barrier(): void | Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    // A connection that is over says in a moment why.
    if (!this.#stretches.areOpen && this.#connection.isOpen) return this.#stretches.end();
    this.#connection.flush();
    return this.#stretches.endLater();
  }

  find(page: number): { iova: number; pages: number; access: Access; ram: RamSlice } | undefined {
    const held = this.#ledger.find(page);
    if (held !== undefined) {
      const { iova, pages, target, flags } = held;
      return { iova, pages, access: flags as Access, ram: this.#blocks.slice(target) };
    }
    if (this.#notEntered === 0) return undefined;
    for (let i = this.#sent.length - 1; i >= this.#firstSent; i--) {
      const { op, iova, pages, access, target, entered, errno } = this.#sent[i] as Sent;
      if (op === 'map' && !entered && (errno ?? 0) === 0 && iova <= page && page < iova + pages) {
        return { iova, pages, access, ram: this.#blocks.slice(target) };
      }
    }
    return undefined;
  }

  #added(): void {
    this.#stretches.added();
    this.#pump();
    const { maxWaiting, name } = this.#options;
    if (this.#waiting.length <= maxWaiting) return;
    this.#connection.close(`${name} is ${this.#waiting.length} maps and unmaps behind and does not catch up`);
  }

  #pump(): void {
    // What is refused here is answered while it is sent, and leads here again.
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.onTheWay < ON_THE_WAY && this.#connection.isOpen) {
      const operation = this.#waiting.shift();
      if (operation === undefined) break;
      this.#send(operation);
    }
    this.#pumping = false;
  }

  #send(operation: Operation): void {
    const stretch = this.#stretches.sent();
    const { op, iova, pages, target, access } = operation;
    const entered = op === 'map' && this.#ledger.insert(iova, pages, target, access);
    if (op === 'map' && !entered) this.#notEntered++;
    const sent: Sent = {
      op,
      iova,
      pages,
      target,
      access,
      stretch,
      entered,
      errno: undefined,
      reason: undefined,
    };
    this.#sent.push(sent);
    if (op === 'unmap') {
      const payload = dmaUnmapRequest.encode({
        dirtyBitmap: false,
        all: false,
        address: addressOf(iova),
        size: bytesOf(pages),
      });
      this.#connection.send(Command.DMA_UNMAP, payload, undefined, (reply) => this.#answered(sent, reply));
    } else {
      this.#sendMap(sent);
    }
  }

  #sendMap(sent: Sent): void {
    const { iova, pages, access } = sent;
    const { block, page } = this.#blocks.slice(sent.target);
    let offset = addressOf(page);
    let descriptors: Descriptor[] | undefined;
    if (isShared(block)) {
      const { descriptor, offset: begin } = block.share;
      offset += begin;
      if (descriptor.closed) {
        sent.reason = 'the file of this RAM was closed: keep it open while it is mapped';
        this.#answer(sent, Errno.EBADF);
        return;
      }
      if (this.#options.descriptors) descriptors = [descriptor];
    }
    const payload = dmaMapRequest.encode({
      read: (access & 1) !== 0,
      write: (access & 2) !== 0,
      offset,
      address: addressOf(iova),
      size: bytesOf(pages),
    });
    this.#connection.send(Command.DMA_MAP, payload, descriptors, (reply) => this.#answered(sent, reply));
  }

  #answered(sent: Sent, reply: Reply | undefined): void {
    // The connection says itself why it is lost.
    if (reply === undefined) return;
    for (const descriptor of reply.descriptors) descriptor.release();
    this.#answer(sent, reply.errno);
  }

  #answer(sent: Sent, errno: number): void {
    sent.errno = errno;
    while (this.#firstSent < this.#sent.length) {
      const oldest = this.#sent[this.#firstSent] as Sent;
      if (oldest.errno === undefined) break;
      this.#firstSent++;
      this.#takeEffect(oldest, oldest.errno);
    }
    if (this.#firstSent * 2 > this.#sent.length) {
      this.#sent = this.#sent.slice(this.#firstSent);
      this.#firstSent = 0;
    }
    this.#pump();
    if (this.#sent.length === 0 && this.#ledger.size === 0 && this.#waiting.length === 0) {
      this.#blocks.clear();
    }
  }

  #takeEffect(sent: Sent, errno: number): void {
    const { op, iova, pages, target, access, stretch } = sent;
    if (op === 'map') {
      if (!sent.entered) this.#notEntered--;
      if (errno === 0 && !sent.entered) this.#ledger.insert(iova, pages, target, access);
      if (errno !== 0 && sent.entered) this.#ledger.remove(iova, pages);
    } else if (errno === 0 || errno === Errno.ENOENT) {
      this.#ledger.remove(iova, pages);
    }
    const reason = sent.reason ?? remedyFor(errno);
    const refusal = errno === 0 ? undefined : { op, iova, pages, errno: errnoName(errno), reason };
    this.#stretches.dealtWith(stretch, refusal);
  }

  #lose(error: ConnectionLostError): void {
    this.#lost = error;
    this.#waiting.clear();
    this.#sent = [];
    this.#firstSent = 0;
    this.#notEntered = 0;
    this.#ledger.clear();
    this.#blocks.clear();
    this.#stretches.lose(error);
  }
}
