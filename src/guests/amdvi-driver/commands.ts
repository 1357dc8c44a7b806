/** Commands, as a guest's driver composes them (AMD-Vi 2.4): four words each. @module */
import type { RequesterId } from '../../iommu/index.ts';
import { PAGES_END, type PageRange } from '../../memory/index.ts';
import { spec } from '../../models/amdvi/index.ts';
import { addressMask } from '../driver/address-mask.ts';
import type { QueueEntry } from '../driver/queue.ts';

/** The words of a command, low first. */
export type Command = QueueEntry;

/** INVALIDATE_DEVTAB_ENTRY (AMD-Vi 2.4.2): what is cached of a device table entry. */
export function invalidateDeviceTableEntry(requester: RequesterId): Command {
  const words = command(spec.INVALIDATE_DEVTAB_ENTRY);
  spec.writeField(words, spec.INVALIDATE_DEVTAB_ENTRY_COMMAND.fields.DeviceID, requester);
  return words;
}

/** How translations are invalidated. */
export interface InvalidatePagesOptions {
  /** PDE: what is cached of entries that name tables goes too. true when left out, as with Linux. */
  readonly tables?: boolean;
}

/**
 * INVALIDATE_IOMMU_PAGES (AMD-Vi 2.4.3) of a domain: the smallest aligned power of two of pages that covers `range`, or
 * all.
 */
export function invalidatePages(
  domain: number,
  range: PageRange | 'whole',
  options: InvalidatePagesOptions = {},
): Command {
  const words = command(spec.INVALIDATE_IOMMU_PAGES);
  const { DomainID, S, PDE, Address } = spec.INVALIDATE_IOMMU_PAGES_COMMAND.fields;
  const pages = range === 'whole' ? PAGES_END : 2 ** addressMask(range);
  const start = range === 'whole' ? 0 : Math.floor(range.start / pages) * pages;
  spec.writeField(words, DomainID, domain);
  spec.writeField(words, S, pages === 1 ? 0 : 1);
  spec.writeField(words, PDE, options.tables === false ? 0 : 1);
  spec.writeField(words, Address, pages === 1 ? start : spec.encodePages(start, pages));
  return words;
}

/** INVALIDATE_IOMMU_ALL (AMD-Vi 2.4.8): everything cached. */
export function invalidateAll(): Command {
  return command(spec.INVALIDATE_IOMMU_ALL);
}

/** COMPLETION_WAIT (AMD-Vi 2.4.1) that stores `status`, and 0 above it, at word `word` of `page`; `word` is even. */
export function completionWait(page: number, word: number, status: number): Command {
  const words = command(spec.COMPLETION_WAIT);
  const { s, StoreAddress } = spec.COMPLETION_WAIT_COMMAND.fields;
  spec.writeField(words, s, 1);
  spec.writeField(words, StoreAddress, page * 512 + word / 2);
  words[2] = status;
  return words;
}

function command(opcode: number): number[] {
  const words = [0, 0, 0, 0];
  spec.writeField(words, spec.INVALIDATE_IOMMU_ALL_COMMAND.fields.OpCode, opcode);
  return words;
}
