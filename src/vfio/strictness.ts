/** What a host IOMMU accepts, as Linux and vfio-user servers do, for the host in memory. @module */
import type { Ledger, Mapping } from '../iommu/index.ts';
import { Access, formatPage, formatRange } from '../memory/index.ts';
import { formatSize } from './format-size.ts';
import type { HostIommuLimits, RamSlice } from './host-iommu.ts';

/**
 * Whose rules a host follows.
 * - `type1`: Linux drivers/vfio/vfio_iommu_type1.c, version 2 of its interface.
 * - `iommufd`: Linux drivers/iommu/iommufd/io_pagetable.c and ioas.c.
 * - `vfio-user`: a server that holds clients to the words of the vfio-user specification, as libvfio-user does.
 */
export type HostStrictness = 'type1' | 'iommufd' | 'vfio-user';

/** Why an operation is refused. */
export interface HostVerdict {
  /** The errno's name. */
  readonly errno: string;
  /** One sentence: what is wrong and what would help. */
  readonly reason: string;
}

/** What a host holds, and what it said that it can. */
export interface HostBook {
  readonly ledger: Ledger;
  readonly limits: HostIommuLimits;
  /** Pages of the smallest page. */
  readonly granule: number;
  /** Whether the mapping is held exactly so, memory and access included. */
  holds(mapping: Mapping, ram: RamSlice): boolean;
}

/** One host's rules. */
export interface HostRules {
  readonly maxMappings: number;
  readonly unmap: HostIommuLimits['unmap'];
  /** Whether the mapping is accepted; one that is held already just so may be, and then changes nothing. */
  judgeMap(book: HostBook, mapping: Mapping, ram: RamSlice): HostVerdict | 'accepted' | 'held-already';
  /** Removes from the ledger what the unmap removes; why it was refused, which may be after part of it. */
  unmapFrom(book: HostBook, iova: number, pages: number): HostVerdict | undefined;
}

/** The default of the module parameter dma_entry_limit of type1, and of vfio-user's max_dma_maps. */
const DEFAULT_MAX_MAPPINGS = 65_535;

const type1: HostRules = {
  maxMappings: DEFAULT_MAX_MAPPINGS,
  unmap: 'contained',
  // vfio_dma_do_map: alignment and access, then overlap, then dma_avail, then the valid IOVA ranges.
  judgeMap: (book, mapping, ram) =>
    noAccess(mapping) ??
    misaligned(book, mapping.iova, mapping.pages, ram.page) ??
    overlapping(book, mapping) ??
    full(book, 'ENOSPC') ??
    outside(book, mapping) ??
    'accepted',
  // vfio_dma_do_unmap: whole mappings, none is well too; one that would be cut refuses it all.
  unmapFrom: (book, iova, pages) => {
    const refused = misaligned(book, iova, pages, 0);
    if (refused !== undefined) return refused;
    const end = iova + pages;
    const first = book.ledger.find(iova);
    if (first !== undefined && first.iova !== iova) return bisecting('EINVAL', iova, pages, first);
    const last = book.ledger.find(end - 1);
    if (last !== undefined && last.iova + last.pages !== end) return bisecting('EINVAL', iova, pages, last);
    const cursor = book.ledger.cursor(iova);
    while (cursor.valid && cursor.iova < end) cursor.remove();
    return undefined;
  },
};

const iommufd: HostRules = {
  maxMappings: Number.POSITIVE_INFINITY,
  unmap: 'contained',
  // iommufd_ioas_map, iopt_alloc_area_pages, iopt_check_iova: what lies outside an aperture is a reserved IOVA.
  judgeMap: (book, mapping, ram) =>
    noAccess(mapping) ??
    misaligned(book, mapping.iova, mapping.pages, 0) ??
    outside(book, mapping) ??
    overlapping(book, mapping) ??
    misaligned(book, mapping.iova, mapping.pages, ram.page) ??
    full(book, 'ENOSPC') ??
    'accepted',
  // iopt_unmap_iova_range goes area by area and stops at one that would be cut; those before it are gone by then.
  // iommufd_ioas_unmap makes an error of a range in which nothing was mapped.
  unmapFrom: (book, iova, pages) => {
    const end = iova + pages;
    const cursor = book.ledger.cursor(iova);
    if (!cursor.valid || cursor.iova >= end) return absent(iova, pages);
    while (cursor.valid && cursor.iova < end) {
      if (cursor.iova < iova || cursor.iova + cursor.pages > end) {
        return bisecting('ENOENT', iova, pages, cursor.mapping);
      }
      cursor.remove();
    }
    return undefined;
  },
};

const vfioUser: HostRules = {
  maxMappings: DEFAULT_MAX_MAPPINGS,
  unmap: 'exact',
  // VFIO_USER_DMA_MAP: a map over an existing region fails with EEXIST. libvfio-user takes the very same map twice, and
  // says EINVAL when it has no room (dma_controller_add_region); the specification names no errno for that.
  judgeMap: (book, mapping, ram) => {
    const taken = overlapping(book, mapping);
    if (taken !== undefined && book.holds(mapping, ram)) return 'held-already';
    return (
      noAccess(mapping) ??
      misaligned(book, mapping.iova, mapping.pages, ram.page) ??
      outside(book, mapping) ??
      taken ??
      full(book, 'EINVAL') ??
      'accepted'
    );
  },
  // dma_controller_remove_region: one region, exactly.
  unmapFrom: (book, iova, pages) => {
    if (book.ledger.remove(iova, pages)) return undefined;
    const cursor = book.ledger.cursor(iova);
    const near = cursor.valid && cursor.iova < iova + pages ? cursor.mapping : undefined;
    return near === undefined ? absent(iova, pages) : bisecting('ENOENT', iova, pages, near);
  },
};

/** The rules of each strictness. */
export const HOST_RULES: Readonly<Record<HostStrictness, HostRules>> = {
  type1,
  iommufd,
  'vfio-user': vfioUser,
};

function noAccess({ iova, access }: Mapping): HostVerdict | undefined {
  if (access !== Access.None) return undefined;
  return { errno: 'EINVAL', reason: `the mapping at ${formatPage(iova)} allows nothing: leave it out` };
}

function misaligned(book: HostBook, iova: number, pages: number, ramPage: number): HostVerdict | undefined {
  const { granule } = book;
  if (pages > 0 && iova % granule === 0 && pages % granule === 0 && ramPage % granule === 0) return undefined;
  return {
    errno: 'EINVAL',
    reason: `${formatSize(pages)} at ${formatPage(iova)} is not made of pages of ${formatSize(granule)}: use whole ones`,
  };
}

function outside(book: HostBook, { iova, pages }: Mapping): HostVerdict | undefined {
  const end = iova + pages;
  for (const aperture of book.limits.apertures) {
    if (aperture.start <= iova && end <= aperture.end) return undefined;
  }
  const apertures = book.limits.apertures.map(formatRange).join(', ');
  return {
    errno: 'EINVAL',
    reason: `${formatRange({ start: iova, end })} lies in no aperture: map within ${apertures}`,
  };
}

function overlapping(book: HostBook, { iova, pages }: Mapping): HostVerdict | undefined {
  const cursor = book.ledger.cursor(iova);
  if (!cursor.valid || cursor.iova >= iova + pages) return undefined;
  const held = formatRange({ start: cursor.iova, end: cursor.iova + cursor.pages });
  return {
    errno: 'EEXIST',
    reason: `${formatRange({ start: iova, end: iova + pages })} overlaps the mapping ${held}: unmap that first`,
  };
}

function full(book: HostBook, errno: string): HostVerdict | undefined {
  const { maxMappings } = book.limits;
  if (book.ledger.size < maxMappings) return undefined;
  return { errno, reason: `${maxMappings} mappings are held already: map larger pages, or raise the limit` };
}

function absent(iova: number, pages: number): HostVerdict {
  const range = formatRange({ start: iova, end: iova + pages });
  return { errno: 'ENOENT', reason: `nothing is mapped at ${range}: unmap only what was mapped` };
}

function bisecting(
  errno: string,
  iova: number,
  pages: number,
  held: { iova: number; pages: number },
): HostVerdict {
  const range = formatRange({ start: iova, end: iova + pages });
  const mapped = formatRange({ start: held.iova, end: held.iova + held.pages });
  return { errno, reason: `${range} is not the mapping ${mapped}: unmap what was mapped` };
}
