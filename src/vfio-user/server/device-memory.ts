import type { LedgerMapping } from '../../iommu/index.ts';
import {
  Access,
  AddressSpace,
  addressOf,
  type DmaFailure,
  dmaRead,
  dmaWrite,
  MemoryTopology,
  type PageRange,
} from '../../memory/index.ts';
import { ADDRESS_END, Errno } from '../wire/index.ts';
import { DmaError } from './dma-error.ts';
import type { DmaMapping } from './dma-mapping.ts';
import type { DmaLink } from './dma-messages.ts';
import type { DmaRefusal } from './dma-refusal.ts';
import { DmaRegion } from './dma-region.ts';
import { accessOf, type DmaTable, isShared } from './dma-table.ts';
import type { DmaHold, DmaTraffic } from './dma-traffic.ts';

/** What the memory of a device is made of. */
export interface DeviceMemoryParts {
  readonly table: DmaTable;
  readonly traffic: DmaTraffic;
  /** Where the shared files are. */
  readonly files: AddressSpace;
  /** The client that there is now. */
  link(): DmaLink | undefined;
}

type Kind = 'read' | 'write';

/**
 * Guest memory as the client lets the device use it: DMA_MAP adds to it, DMA_UNMAP takes away, and it is empty when no
 * client is there. Addresses are DMA addresses in bytes.
 *
 * A mapping that came with a file is reached directly. One that came without is reached by DMA_READ and DMA_WRITE
 * messages, which are refused with EBUSY while the client waits for the answer to a command: it would not serve them
 * before. So a register handler must not wait for DMA: it notes what is to be done, returns, and does it afterwards.
 */
export class DeviceMemory {
  /**
   * What was mapped with files, for `dmaRead`, `dmaWrite` and everything else that takes an address space; memory that
   * came without faults here. Each access is looked up anew. A range whose unmap waits for a hold stays visible until
   * the unmap is answered, so that the holder can finish.
   */
  readonly space: AddressSpace;
  readonly #parts: DeviceMemoryParts;

  /** Made by the server. */
  constructor(parts: DeviceMemoryParts) {
    this.#parts = parts;
    const region = new DmaRegion(parts.table, parts.files, () => parts.traffic.isAtRest);
    this.space = new AddressSpace('guest memory', region, new MemoryTopology());
  }

  /** Mappings held. */
  get size(): number {
    return this.#parts.table.size;
  }

  /** Every mapping, ascending. Consumed before anything else happens, for it must not change meanwhile. */
  mappings(): Iterable<DmaMapping> {
    return this.#parts.table.mappings();
  }

  /**
   * Fills `data` from `address`, across mappings of either kind. Memory that came with files is read before this
   * returns, up to the first that did not. Rejects with DmaError.
   */
  read(address: bigint, data: Uint8Array): Promise<void> {
    return this.#transfer('read', address, data);
  }

  /** Writes `data` at `address`: see {@link read}. `data` must not change before the promise settles. */
  write(address: bigint, data: Uint8Array): Promise<void> {
    return this.#transfer('write', address, data);
  }

  /**
   * Begins direct access to `size` bytes at `address`: until the hold is released, an unmap of any of it is not answered,
   * and `space` shows it. For access that takes longer than one turn; `read` and `write` need none. Throws DmaError when
   * part of it is not mapped, came without a file (nothing is held by messages), is being unmapped, or when quiesced.
   */
  hold(address: bigint, size: bigint): DmaHold {
    const fail = (refusal: DmaRefusal, at = address): never => {
      throw new DmaError('hold', at, refusal);
    };
    const range = pagesOf(address, size) ?? fail(BEYOND);
    const refusal = this.#parts.traffic.refusal(range);
    if (refusal !== undefined) fail(refusal);
    let page = range.start;
    for (const cursor = this.#parts.table.cursor(page); page < range.end; cursor.next()) {
      if (!cursor.valid || cursor.iova > page) fail(UNMAPPED, addressOf(page));
      if (!isShared(cursor)) fail(WITHOUT_FILE, addressOf(page));
      page = cursor.iova + cursor.pages;
    }
    return this.#parts.traffic.hold(address, size, range);
  }

  async #transfer(kind: Kind, address: bigint, data: Uint8Array): Promise<void> {
    let completed = 0;
    const fail = (refusal: DmaRefusal): never => {
      throw new DmaError(`DMA ${kind}`, address + BigInt(completed), refusal, completed);
    };
    if (address < 0n || address + BigInt(data.length) > ADDRESS_END) fail(BEYOND);
    while (completed < data.length) {
      const at = address + BigInt(completed);
      const rest = data.subarray(completed);
      const mapping = this.#parts.table.find(Number(at >> 12n)) ?? fail(UNMAPPED);
      if ((accessOf(mapping) & (kind === 'read' ? Access.Read : Access.Write)) === 0) fail(FORBIDDEN);
      const piece = rest.subarray(0, bytesWithin(mapping, at, rest.length));
      if (isShared(mapping)) {
        const refusal = this.#parts.traffic.refusal(rangeOf(at, piece.length));
        if (refusal !== undefined) fail(refusal);
        const result = (kind === 'read' ? dmaRead : dmaWrite)(this.space, at, piece);
        completed += result.completed;
        if (result.failure !== undefined) fail(refusalOf(result.failure));
      } else {
        const link = this.#parts.link() ?? fail(UNMAPPED);
        const message = piece.subarray(0, link.maxBytes);
        const range = rangeOf(at, message.length);
        // eslint-disable-next-line no-await-in-loop -- one message after the other: what was done is then known.
        const refusal = this.#parts.traffic.refusal(range) ?? (await link[kind](at, message, range));
        if (refusal !== undefined) fail(refusal);
        completed += message.length;
      }
    }
  }
}

const BEYOND: DmaRefusal = { errno: Errno.EFAULT, reason: 'the range is empty or ends beyond 2^64' };
const UNMAPPED: DmaRefusal = { errno: Errno.EFAULT, reason: 'the client has mapped nothing there' };
const FORBIDDEN: DmaRefusal = { errno: Errno.EACCES, reason: 'the mapping does not allow it' };
const WITHOUT_FILE: DmaRefusal = {
  errno: Errno.EOPNOTSUPP,
  reason: 'the memory came without a file, so nothing of it can be held: use read and write',
};

function pagesOf(address: bigint, size: bigint): PageRange | undefined {
  if (address < 0n || size <= 0n || address + size > ADDRESS_END) return undefined;
  return { start: Number(address >> 12n), end: Number((address + size + 4095n) >> 12n) };
}

function rangeOf(address: bigint, bytes: number): PageRange {
  return { start: Number(address >> 12n), end: Number((address + BigInt(bytes) + 4095n) >> 12n) };
}

/** How many of `bytes` bytes at `address` lie within `mapping`. */
function bytesWithin(mapping: LedgerMapping, address: bigint, bytes: number): number {
  const rest = addressOf(mapping.iova + mapping.pages) - address;
  return rest < BigInt(bytes) ? Number(rest) : bytes;
}

function refusalOf(failure: DmaFailure): DmaRefusal {
  if (failure.kind === 'translation') return { errno: failure.fault.code, reason: failure.fault.reason };
  return {
    errno: Errno.EIO,
    reason: `the shared file does not take it (${failure.kind}): was it made shorter?`,
  };
}
