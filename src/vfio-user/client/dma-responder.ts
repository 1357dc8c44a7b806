import { Access, addressOf, PAGE_SIZE, PageCursor, pageOf } from '../../memory/index.ts';
import type { RamSlice } from '../../vfio/index.ts';
import type { IncomingCommand } from '../command.ts';
import { releaseAll } from '../descriptor.ts';
import {
  Command,
  dmaReadReply,
  dmaReadRequest,
  dmaWriteReply,
  dmaWriteRequest,
  Errno,
} from '../wire/index.ts';

/** What a server may use of guest RAM. */
export interface MappedRam {
  /** The mapping of a page of the device's addresses: its pages, what it allows and the RAM behind its first page. */
  find(
    page: number,
  ):
    | { readonly iova: number; readonly pages: number; readonly access: Access; readonly ram: RamSlice }
    | undefined;
}

/** A part of a transfer, within one page of RAM. */
interface Piece {
  readonly ram: RamSlice;
  readonly offset: number;
  readonly length: number;
}

const COUNT_AT = 8;
const ACCESS_BYTES = 16;

/**
 * Answers a server's DMA_READ and DMA_WRITE from guest RAM, whole or not at all. Errors are QEMU's: ENODEV where
 * nothing is mapped or the mapping does not allow it, E2BIG beyond `max_data_xfer_size`, ENOSYS for other commands.
 */
export class DmaResponder {
  readonly #ram: MappedRam;
  readonly #maxBytes: bigint;
  readonly #cursor = new PageCursor();

  /** `maxBytes`: the `max_data_xfer_size` that the client announced. */
  constructor(ram: MappedRam, maxBytes: number) {
    this.#ram = ram;
    this.#maxBytes = BigInt(maxBytes);
  }

  /** Takes one command of the server, and answers it at once. */
  respond(command: IncomingCommand): void {
    if (command.descriptors.length > 0) {
      releaseAll(command.descriptors);
      command.fail(Errno.EINVAL);
    } else if (command.command === Command.DMA_READ) {
      this.#read(command);
    } else if (command.command === Command.DMA_WRITE) {
      this.#write(command);
    } else {
      command.fail(Errno.ENOSYS);
    }
  }

  #read(command: IncomingCommand): void {
    if (this.#isTooBig(command)) return command.fail(Errno.E2BIG);
    const request = dmaReadRequest.decode(command.payload);
    if (!request.ok) return command.fail(request.errno);
    const { address, count } = request.value;
    const pieces = this.#pieces(address, Number(count), Access.Read);
    if (pieces === undefined) return command.fail(Errno.ENODEV);
    const data = new Uint8Array(Number(count));
    let at = 0;
    for (const { ram, offset, length } of pieces) {
      ram.block.locate(ram.page, this.#cursor, false);
      data.set(this.#cursor.bytes().subarray(offset, offset + length), at);
      at += length;
    }
    command.reply(dmaReadReply.encode({ address, count, data }));
  }

  #write(command: IncomingCommand): void {
    if (this.#isTooBig(command)) return command.fail(Errno.E2BIG);
    const request = dmaWriteRequest.decode(command.payload);
    if (!request.ok) return command.fail(request.errno);
    const { address, count, data } = request.value;
    const pieces = this.#pieces(address, Number(count), Access.Write);
    if (pieces === undefined) return command.fail(Errno.ENODEV);
    let at = 0;
    for (const { ram, offset, length } of pieces) {
      ram.block.locate(ram.page, this.#cursor, true);
      this.#cursor.bytes().set(data.subarray(at, at + length), offset);
      at += length;
    }
    command.reply(dmaWriteReply.encode({ address, count }));
  }

  /** Asked before anything is decoded, let alone allocated: a count may be 2^63. */
  #isTooBig({ payload }: IncomingCommand): boolean {
    if (payload.length < ACCESS_BYTES) return false;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    return view.getBigUint64(COUNT_AT, true) > this.#maxBytes;
  }

  /** The RAM of a range, page by page; undefined when not all of it allows `access`. */
  #pieces(address: bigint, count: number, access: Access): Piece[] | undefined {
    const pieces: Piece[] = [];
    let mapping: ReturnType<MappedRam['find']>;
    for (let done = 0; done < count; ) {
      const at = address + BigInt(done);
      const page = pageOf(at);
      if (mapping === undefined || page >= mapping.iova + mapping.pages) mapping = this.#ram.find(page);
      if (mapping === undefined || (mapping.access & access) !== access) return undefined;
      const offset = Number(at - addressOf(page));
      const length = Math.min(PAGE_SIZE - offset, count - done);
      const { block, page: first } = mapping.ram;
      pieces.push({ ram: { block, page: first + (page - mapping.iova) }, offset, length });
      done += length;
    }
    return pieces;
  }
}
