import { Ledger, type LedgerCursor, type LedgerMapping } from '../../iommu/index.ts';
import {
  type Access,
  addressOf,
  bytesOf,
  formatRange,
  PAGES_END,
  type PageRange,
} from '../../memory/index.ts';
import type { Descriptor } from '../descriptor.ts';
import { type DmaMap, type DmaUnmap, Errno } from '../wire/index.ts';
import type { DmaMapping } from './dma-mapping.ts';
import type { DmaRefusal } from './dma-refusal.ts';
import type { FileTable } from './file-table.ts';

/** Flag of a mapping that lies in a shared file, beside the access in bits 0-1. */
const SHARED = 4;

/** What a table holds, and how strict it is. */
export interface DmaTableOptions {
  /** Where shared memory is found; without it every mapping is reached by message. */
  readonly files: FileTable | undefined;
  readonly maxMappings: number;
  /** See `ServerLimits.reachablePages`. */
  readonly reachablePages: number;
  /** See {@link DmaTable}. */
  readonly unmap: 'contained' | 'exact';
}

/** What an unmap took away. */
export interface DmaRemoved {
  readonly count: number;
  /** The mapping, when it was one and the unmap named it exactly. */
  readonly mapping: DmaMapping | undefined;
}

/**
 * What DMA_MAP and DMA_UNMAP do.
 *
 * `contained`: as Linux's VFIO type1 version 2. A map that overlaps one that is there is refused with EEXIST. An unmap
 * removes every mapping inside its range, be it many or none, and is refused with EINVAL, nothing removed, when it
 * would cut one. That is what QEMU relies on, whose unmaps do not name its maps.
 *
 * `exact`: as libvfio-user. An overlapping map is refused with EINVAL unless it is the very same mapping again, which
 * changes nothing; an unmap must name one mapping exactly, or it is refused with ENOENT.
 */
export class DmaTable {
  readonly #ledger: Ledger = new Ledger();
  readonly #files: FileTable | undefined;
  readonly #maxMappings: number;
  readonly #reachablePages: number;
  readonly #isExact: boolean;

  constructor({ files, maxMappings, reachablePages, unmap }: DmaTableOptions) {
    this.#files = files;
    this.#maxMappings = maxMappings;
    this.#reachablePages = reachablePages;
    this.#isExact = unmap === 'exact';
  }

  /** Whether files are opened; otherwise descriptors mean nothing. */
  get takesFiles(): boolean {
    return this.#files !== undefined;
  }

  /** Mappings held. */
  get size(): number {
    return this.#ledger.size;
  }

  /** The mapping of `page`, in pages; `target` is meaningful to {@link FileTable.space} when it {@link isShared}. */
  find(page: number): LedgerMapping | undefined {
    return this.#ledger.find(page);
  }

  /** A cursor at the first mapping that ends after `page`, to be read. */
  cursor(page: number): LedgerCursor {
    return this.#ledger.cursor(page);
  }

  /** Everything held, ascending. The table must not change meanwhile. */
  *mappings(): Iterable<DmaMapping> {
    for (const entry of this.#ledger.mappings()) yield this.#describe(entry);
  }

  /** Enters a mapping. `descriptor` stays the caller's. Why it was not entered; undefined when it was. */
  map(request: DmaMap, descriptor: Descriptor | undefined): DmaRefusal | undefined {
    const { address, size, offset, read, write } = request;
    if (((address | size | offset) & 0xfffn) !== 0n || size === 0n) {
      return invalid(`address, size and offset of a mapping are whole pages of 4 KiB: align them`);
    }
    if (!read && !write) return invalid('the mapping allows neither reads nor writes: leave it out');
    const iova = Number(address >> 12n);
    const pages = Number(size >> 12n);
    const page = Number(offset >> 12n);
    if (iova + pages > PAGES_END || page + pages > PAGES_END) {
      return invalid('the mapping ends beyond 2^64: make it shorter');
    }
    if (iova + pages > this.#reachablePages) return this.#unreachable({ start: iova, end: iova + pages });
    const access = (read ? 1 : 0) | (write ? 2 : 0);
    const cursor = this.#ledger.cursor(iova);
    const overlaps = cursor.valid && cursor.iova < iova + pages;
    if (overlaps && !(this.#isExact && cursor.iova === iova && cursor.pages === pages)) {
      return this.#overlapping({ start: iova, end: iova + pages }, cursor);
    }
    if (!overlaps && this.#ledger.size >= this.#maxMappings) return this.#full();
    const file = descriptor === undefined ? undefined : this.#files?.acquire(descriptor, page + pages, write);
    if (file !== undefined && 'errno' in file) return file;
    const target = file === undefined ? page : file.base + page;
    const flags = file === undefined ? access : access | SHARED;
    if (!overlaps) {
      cursor.insert(iova, pages, target, flags);
      return undefined;
    }
    const isSame = cursor.target === target && cursor.flags === flags;
    if (file !== undefined) this.#files?.release(file);
    return isSame ? undefined : this.#overlapping({ start: iova, end: iova + pages }, cursor);
  }

  /** The pages that `request` removes, or why it is refused. Nothing is removed yet. */
  judgeUnmap(request: DmaUnmap): PageRange | DmaRefusal {
    if (request.dirtyBitmap) {
      const reason = 'pages that were written are not tracked: unmap without asking for them';
      return { errno: Errno.EOPNOTSUPP, reason };
    }
    if (request.all) return { start: 0, end: PAGES_END };
    const { address, size } = request;
    if (((address | size) & 0xfffn) !== 0n || size === 0n) {
      return invalid('address and size of an unmap are whole pages of 4 KiB: align them');
    }
    const start = Number(address >> 12n);
    const end = start + Number(size >> 12n);
    if (end > PAGES_END) return invalid('the unmap ends beyond 2^64: make it shorter');
    const first = this.#ledger.cursor(start);
    if (first.valid && first.iova === start && first.iova + first.pages === end) return { start, end };
    if (this.#isExact) {
      const reason = `${formatRange({ start, end })} is not one mapping exactly: unmap what was mapped`;
      return { errno: Errno.ENOENT, reason };
    }
    if (first.valid && first.iova < start) return cut({ start, end }, first);
    const last = this.#ledger.cursor(end - 1);
    if (last.valid && last.iova < end && last.iova + last.pages > end) return cut({ start, end }, last);
    return { start, end };
  }

  /** Removes every mapping in `range`, which {@link judgeUnmap} gave. `describe`: whether the answer may name the mapping. */
  remove(range: PageRange, describe: boolean): DmaRemoved {
    const cursor = this.#ledger.cursor(range.start);
    const isOne = cursor.valid && cursor.iova === range.start && cursor.iova + cursor.pages === range.end;
    const mapping = describe && isOne ? this.#describe(cursor.mapping) : undefined;
    let count = 0;
    for (; cursor.valid && cursor.iova < range.end; count++) {
      this.#letGo(cursor);
      cursor.remove();
    }
    return { count, mapping };
  }

  /** Removes everything. */
  clear(): void {
    this.#ledger.clear();
    this.#files?.clear();
  }

  #letGo({ flags, target }: LedgerCursor): void {
    if (this.#files !== undefined && (flags & SHARED) !== 0) this.#files.release(this.#files.at(target));
  }

  #describe(mapping: LedgerMapping): DmaMapping {
    const { iova, pages, target, flags } = mapping;
    const base = this.#files !== undefined && isShared(mapping) ? this.#files.at(target).base : 0;
    return {
      iova: addressOf(iova),
      size: bytesOf(pages),
      offset: addressOf(target - base),
      access: accessOf(mapping),
      shared: (flags & SHARED) !== 0,
    };
  }

  #overlapping(range: PageRange, held: LedgerCursor): DmaRefusal {
    const there = formatRange({ start: held.iova, end: held.iova + held.pages });
    return {
      errno: this.#isExact ? Errno.EINVAL : Errno.EEXIST,
      reason: `${formatRange(range)} overlaps the mapping ${there}: unmap that first`,
    };
  }

  #unreachable(range: PageRange): DmaRefusal {
    const reach = formatRange({ start: 0, end: this.#reachablePages });
    return {
      errno: Errno.ERANGE,
      reason: `the device reaches ${reach}, and ${formatRange(range)} does not lie in it: keep the guest below that`,
    };
  }

  #full(): DmaRefusal {
    const reason = `${this.#maxMappings} mappings are held already: map larger pages, or let more be held (maxMappings, --max-dma-maps)`;
    return { errno: Errno.ENOSPC, reason };
  }
}

/** Whether a mapping of the table lies in a shared file. */
export function isShared(mapping: { readonly flags: number }): boolean {
  return (mapping.flags & SHARED) !== 0;
}

/** What a mapping of the table allows. */
export function accessOf(mapping: { readonly flags: number }): Access {
  return (mapping.flags & 3) as Access;
}

function invalid(reason: string): DmaRefusal {
  return { errno: Errno.EINVAL, reason };
}

function cut(range: PageRange, { iova, pages }: LedgerCursor): DmaRefusal {
  const mapping = formatRange({ start: iova, end: iova + pages });
  return invalid(`${formatRange(range)} would cut the mapping ${mapping}: unmap all of it`);
}
