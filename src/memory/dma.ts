/** Reads and writes by a device, page by page through its address space. @module */
import { Access } from './access.ts';
import type { AddressSpace } from './address-space.ts';
import { addressOf, PAGE_SIZE, pageOf } from './pages.ts';
import { PageCursor } from './ram-block.ts';
import { DeviceRegion, RamRegion } from './terminal-regions.ts';
import { type TranslationFault, TranslatingRegion } from './translating-region.ts';

/** Why a transfer stopped. */
export type DmaFailure =
  | { readonly kind: 'hole'; readonly address: bigint }
  | { readonly kind: 'read-only'; readonly address: bigint }
  | { readonly kind: 'device-refused'; readonly address: bigint }
  | { readonly kind: 'translation'; readonly address: bigint; readonly fault: TranslationFault }
  | { readonly kind: 'too-many-translations'; readonly address: bigint }
  | { readonly kind: 'beyond-64-bits'; readonly address: bigint };

/** What a transfer did. `failure.address` is in the address space that the transfer was given to. */
export interface DmaResult {
  /** Bytes transferred before the failure; all of them when there is none. */
  readonly completed: number;
  readonly failure?: DmaFailure;
}

/** IOMMUs may be stacked; a chain longer than this is a mistake in the machine's wiring. */
const MAX_TRANSLATIONS = 8;

/** Reads `data.length` bytes at `address`; `index` selects the translation in an IOMMU region (a PASID). Stops at the first page that fails. */
export function dmaRead(space: AddressSpace, address: bigint, data: Uint8Array, index = 0): DmaResult {
  return transfer(space, address, data, Access.Read, index);
}

/** Writes `data` at `address`: see {@link dmaRead}. */
export function dmaWrite(space: AddressSpace, address: bigint, data: Uint8Array, index = 0): DmaResult {
  return transfer(space, address, data, Access.Write, index);
}

function transfer(
  space: AddressSpace,
  address: bigint,
  data: Uint8Array,
  access: 1 | 2,
  index: number,
): DmaResult {
  let completed = 0;
  while (completed < data.length) {
    const at = address + BigInt(completed);
    if (at < 0n || at >> 64n !== 0n) return { completed, failure: { kind: 'beyond-64-bits', address: at } };
    const offset = Number(at & 0xfffn);
    const piece = data.subarray(completed, completed + PAGE_SIZE - offset);
    const failure = transferWithinPage(space, pageOf(at), offset, piece, access, index);
    if (failure !== undefined) return { completed, failure: { ...failure, address: at } };
    completed += piece.length;
  }
  return { completed };
}

type PageFailure = DmaFailure extends infer F ? (F extends DmaFailure ? Omit<F, 'address'> : never) : never;

function transferWithinPage(
  space: AddressSpace,
  page: number,
  offset: number,
  data: Uint8Array,
  access: 1 | 2,
  index: number,
): PageFailure | undefined {
  let currentSpace = space;
  let currentPage = page;
  for (let hops = 0; hops <= MAX_TRANSLATIONS; hops++) {
    const section = currentSpace.view.find(currentPage);
    if (section === undefined) return { kind: 'hole' };
    const region = section.region;
    const inRegion = currentPage - section.start + section.offset;
    if (region instanceof TranslatingRegion) {
      // Only the IOMMU next to the device sees the transaction's PASID; what lies behind it sees plain addresses.
      const entry = region.translatePage(inRegion, access, hops === 0 ? index : 0);
      if (entry.fault !== undefined) return { kind: 'translation', fault: entry.fault };
      currentPage = entry.target + (inRegion - entry.iova);
      currentSpace = region.target;
      continue;
    }
    if (region instanceof RamRegion) {
      if (access === Access.Write && region.readonly) return { kind: 'read-only' };
      const cursor = new PageCursor();
      region.block.locate(inRegion, cursor, access === Access.Write);
      const bytes = cursor.bytes();
      if (access === Access.Write) bytes.set(data, offset);
      else data.set(bytes.subarray(offset, offset + data.length));
      return undefined;
    }
    if (region instanceof DeviceRegion) {
      const byte = Number(addressOf(inRegion)) + offset;
      const accepted =
        access === Access.Write ? region.handler.write(byte, data) : region.handler.read(byte, data);
      return accepted ? undefined : { kind: 'device-refused' };
    }
    return { kind: 'hole' };
  }
  return { kind: 'too-many-translations' };
}
