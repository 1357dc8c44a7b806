import type { Mapping } from '../iommu/index.ts';
import { addressOf, formatPage, formatRange, PAGE_SIZE, type PageRange } from '../memory/index.ts';
import { formatSize } from './format-size.ts';
import type { HostIommu } from './host-iommu.ts';
import type { Refusal } from './refusal.ts';

/** Holds mappings against what a host announced, before they are sent: a host tells less well what is wrong. */
export class LimitGuard {
  /** Pages of the host's smallest page, a power of two; 1 when that is 4 KiB or less. */
  readonly granule: number;
  readonly #host: HostIommu;
  /** The aperture that held the last mapping: neighbours mostly share it. */
  #aperture: PageRange | undefined;

  /** RangeError when the host announces no page size. */
  constructor(host: HostIommu) {
    const { pageSizes } = host.limits;
    if (pageSizes <= 0n)
      throw new RangeError(`host ${host.name} announces no page size: set a bit of pageSizes`);
    const smallest = pageSizes & -pageSizes;
    this.granule = smallest <= BigInt(PAGE_SIZE) ? 1 : Number(smallest >> 12n);
    this.#host = host;
  }

  /** Why the host could not hold `mapping` onto page `ramPage` of a block beside the `held` it has; undefined when it can. */
  check(mapping: Mapping, ramPage: number, held: number): Refusal | undefined {
    const { iova, pages } = mapping;
    const { granule } = this;
    if (granule > 1 && (iova % granule !== 0 || pages % granule !== 0 || ramPage % granule !== 0)) {
      return this.#tooFine(mapping, ramPage);
    }
    const aperture = this.#aperture;
    if (aperture === undefined || iova < aperture.start || iova + pages > aperture.end) {
      const found = this.#host.limits.apertures.find((a) => a.start <= iova && iova + pages <= a.end);
      if (found === undefined) return this.#outside(mapping);
      this.#aperture = found;
    }
    return held < this.#host.limits.maxMappings ? undefined : this.#tooMany(mapping);
  }

  #tooFine(mapping: Mapping, ramPage: number): Refusal {
    const guest = Math.min(alignmentOf(mapping.iova), alignmentOf(mapping.pages), alignmentOf(ramPage));
    const smallest = formatSize(this.granule);
    return {
      cause: 'page-size',
      mapping,
      pageSizes: { guest: addressOf(guest), host: addressOf(this.granule) },
      reason:
        `the guest maps ${formatSize(mapping.pages)} at IOVA ${formatPage(mapping.iova)} in pages of ` +
        `${formatSize(guest)}, but the smallest page of host ${this.#host.name} is ${smallest}`,
      remedy: `have the guest map aligned pages of ${smallest}, or use a host with pages of ${formatSize(guest)}`,
    };
  }

  #outside(mapping: Mapping): Refusal {
    const { iova, pages } = mapping;
    const apertures = this.#host.limits.apertures.map(formatRange).join(', ');
    return {
      cause: 'aperture',
      mapping,
      reason:
        `IOVA ${formatRange({ start: iova, end: iova + pages })} lies outside what host ${this.#host.name} can ` +
        `map (${apertures === '' ? 'nothing' : apertures})`,
      remedy: 'keep the guest out of there with a reserved region or a smaller address width of its IOMMU',
    };
  }

  #tooMany(mapping: Mapping): Refusal {
    return {
      cause: 'too-many-mappings',
      mapping,
      reason:
        `the mapping of ${formatSize(mapping.pages)} at IOVA ${formatPage(mapping.iova)} is one more than the ` +
        `${this.#host.limits.maxMappings} that host ${this.#host.name} can hold`,
      remedy:
        "have the guest map larger pages or less at a time, or raise the host's limit " +
        '(type1: the module parameter dma_entry_limit of vfio_iommu_type1; a vfio-user server: what it announces)',
    };
  }
}

/** The largest power of two that divides `page`; for 0, which all divide, more than any page. */
function alignmentOf(page: number): number {
  if (page === 0) return Number.POSITIVE_INFINITY;
  const value = BigInt(page);
  return Number(value & -value);
}
