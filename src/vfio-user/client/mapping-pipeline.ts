import { Ledger, type Mapping } from '../../iommu/index.ts';
import { type Access, addressOf, bytesOf } from '../../memory/index.ts';
import type { RamSlice } from '../../vfio/index.ts';
import { ConnectionLostError } from '../close-reason.ts';
import type { Reply } from '../command.ts';
import type { Connection } from '../connection.ts';
import type { Descriptor } from '../descriptor.ts';
import { Command, DmaMapPayload, dmaUnmapRequest, Errno, errnoName } from '../wire/index.ts';
import { BlockPages } from './block-pages.ts';
import type { MappedRam } from './dma-responder.ts';
import { type Operation, OperationQueue } from './operation-queue.ts';
import { remedyFor } from './remedies.ts';
import { type AnsweredOperation, ON_THE_WAY, SentOperations } from './sent-operations.ts';
import { Stretches } from './stretches.ts';

const CLOSED_FILE = 'the file of this RAM was closed: keep it open while it is mapped';

/** How a pipeline reaches the server. */
export interface PipelineOptions {
  /** The server's name for people. */
  readonly name: string;
  /** Whether descriptors are sent with mappings. */
  readonly descriptors: boolean;
  /** Whether a mapping may name the file of the last descriptor instead of bringing it: see `DmaMap.sameFile`. */
  readonly sameFile: boolean;
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
  readonly #sent: SentOperations = new SentOperations();
  readonly #payload: DmaMapPayload = new DmaMapPayload();
  readonly #ledger: Ledger = new Ledger();
  readonly #blocks: BlockPages = new BlockPages();
  readonly #stretches: Stretches = new Stretches();
  /** The last descriptor that was sent. */
  #lastFile: Descriptor | undefined;
  #pumping = false;
  #lost: ConnectionLostError | undefined;

  constructor(connection: Connection, options: PipelineOptions) {
    this.#connection = connection;
    this.#options = options;
    void connection.closed.then((reason) => this.#lose(new ConnectionLostError(options.name, reason)));
  }

  /** Operations that were sent and not answered in their turn. */
  get onTheWay(): number {
    return this.#sent.length;
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
    // A map that replaces what is still being unmapped is not in the ledger yet.
    const sent = this.#sent.findMap(page);
    if (sent === undefined) return undefined;
    const { iova, pages, access, target } = sent;
    return { iova, pages, access, ram: this.#blocks.slice(target) };
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
    const slot = this.#sent.add(operation, stretch, entered);
    if (op === 'map') {
      this.#sendMap(slot, operation);
      return;
    }
    const payload = dmaUnmapRequest.encode({
      dirtyBitmap: false,
      all: false,
      address: addressOf(iova),
      size: bytesOf(pages),
    });
    this.#connection.send(Command.DMA_UNMAP, payload, undefined, this.#answered, undefined, slot);
  }

  #sendMap(slot: number, { iova, pages, target, access }: Operation): void {
    const { first, descriptor, filePage } = this.#blocks.at(target);
    let descriptors: Descriptor[] | undefined;
    let sameFile = false;
    if (descriptor !== undefined) {
      if (descriptor.closed) {
        this.#sent.refuseClosed(slot, Errno.EBADF);
        this.#takeEffect();
        return;
      }
      // With its descriptor a mapping costs the kernel some 3 µs more.
      sameFile = this.#options.sameFile && descriptor === this.#lastFile;
      if (this.#options.descriptors && !sameFile) {
        descriptors = [descriptor];
        this.#lastFile = descriptor;
      }
    }
    const payload = this.#payload.fill(iova, pages, filePage + target - first, access, sameFile);
    this.#connection.send(Command.DMA_MAP, payload, descriptors, this.#answered, undefined, slot);
  }

  /** One for all: a closure for each operation would live until its answer. */
  readonly #answered = (reply: Reply | undefined, slot: number): void => {
    // The connection says itself why it is lost.
    if (reply === undefined) return;
    for (const descriptor of reply.descriptors) descriptor.release();
    this.#sent.answer(slot, reply.errno);
    this.#takeEffect();
  };

  /** Lets take effect what was answered, as far as nothing before it is unanswered. */
  #takeEffect(): void {
    for (let next = this.#sent.shift(); next !== undefined; next = this.#sent.shift()) this.#apply(next);
    this.#pump();
    if (this.#sent.length === 0 && this.#ledger.size === 0 && this.#waiting.length === 0) {
      this.#blocks.clear();
    }
  }

  #apply({ op, iova, pages, target, access, stretch, entered, errno, closedFile }: AnsweredOperation): void {
    if (op === 'map') {
      if (errno === 0 && !entered) this.#ledger.insert(iova, pages, target, access);
      if (errno !== 0 && entered) this.#ledger.remove(iova, pages);
    } else if (errno === 0 || errno === Errno.ENOENT) {
      this.#ledger.remove(iova, pages);
    }
    if (errno === 0) {
      this.#stretches.dealtWith(stretch, undefined);
      return;
    }
    const reason = closedFile ? CLOSED_FILE : remedyFor(errno);
    this.#stretches.dealtWith(stretch, { op, iova, pages, errno: errnoName(errno), reason });
  }

  #lose(error: ConnectionLostError): void {
    this.#lost = error;
    this.#waiting.clear();
    this.#sent.clear();
    this.#ledger.clear();
    this.#blocks.clear();
    this.#stretches.lose(error);
  }
}
