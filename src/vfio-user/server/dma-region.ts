import {
  Access,
  type AddressSpace,
  formatPage,
  type IommuTlbEntry,
  PAGES_END,
  TranslatingRegion,
} from '../../memory/index.ts';
import { Errno } from '../wire/index.ts';
import { accessOf, type DmaTable, isShared } from './dma-table.ts';

/** Guest memory as the device sees it: every DMA address, translated to the client's shared files. */
export class DmaRegion extends TranslatingRegion {
  readonly target: AddressSpace;
  readonly #table: DmaTable;
  readonly #isClosed: () => boolean;

  /** `isClosed`: whether no access at all is to be done now. */
  constructor(table: DmaTable, files: AddressSpace, isClosed: () => boolean) {
    super('guest memory', PAGES_END);
    this.target = files;
    this.#table = table;
    this.#isClosed = isClosed;
  }

  translatePage(page: number, access: Access, index: number): IommuTlbEntry {
    const mapping = index === 0 ? this.#table.find(page) : undefined;
    if (mapping === undefined) return unmapped(page, index);
    const { iova, pages, target } = mapping;
    const allowed = accessOf(mapping);
    const entry = { iova, pages, target, access: allowed };
    const at = formatPage(page);
    if (!isShared(mapping)) {
      const reason = `the memory at ${at} came without a file: use read and write of the device's memory`;
      return { ...entry, fault: { code: Errno.EOPNOTSUPP, reason } };
    }
    if (this.#isClosed()) {
      return {
        ...entry,
        fault: { code: Errno.EBUSY, reason: 'the server is quiesced: wait until it resumes' },
      };
    }
    if ((access & ~allowed) !== 0) {
      const reason = `the mapping at ${at} does not allow ${access === Access.Read ? 'reads' : 'writes'}`;
      return { ...entry, fault: { code: Errno.EACCES, reason } };
    }
    return entry;
  }
}

function unmapped(page: number, index: number): IommuTlbEntry {
  const reason =
    index === 0
      ? `nothing is mapped at ${formatPage(page)}`
      : `PASID ${index}: vfio-user has one address space for a device`;
  return { iova: page, pages: 1, target: 0, access: Access.None, fault: { code: Errno.EFAULT, reason } };
}
