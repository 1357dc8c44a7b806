import { addressOf, formatRange, overlaps, type PageRange } from '../../memory/index.ts';
import type { LedgerMapping } from '../../iommu/index.ts';
import type { Domain } from './domain-table.ts';
import { observeRefused, type Outcome, type RequestParts, touchesReserved } from './request-parts.ts';
import * as spec from './spec/index.ts';
import type { Trial } from './trial.ts';

const ADDRESSES = 2n ** 64n;

/** MAP and UNMAP (virtio 1.3, 5.13.6.5 and 5.13.6.6). */
export class MapRequests {
  readonly #parts: RequestParts;
  /** Mappings that the trial under way may yet lose. */
  #tentative: { readonly domain: Domain; readonly range: PageRange }[] = [];
  #trial: Trial | undefined;

  constructor(parts: RequestParts) {
    this.#parts = parts;
  }

  map(request: spec.MapRequest, trial: Trial): Outcome | undefined {
    const { table, settings } = this.#parts;
    const judged = this.#judgeMap(request);
    if (typeof judged === 'number') return { status: judged };
    const range = pagesOf(request);
    const inTheWay = judged.mappings.cursor(range.start);
    const isTaken = inTheWay.valid && inTheWay.iova < range.end;
    const isFull = table.mappingCount >= settings.maxMappings;
    // What is in the way may be refused yet.
    if (isTaken && this.#isTentative(judged, range, trial)) return undefined;
    if (isTaken) return { status: spec.S_INVAL };
    if (isFull && trial.isOpen) return undefined;
    if (isFull) return { status: spec.S_NOMEM };
    return this.#enter(judged, range, request, trial);
  }

  unmap(request: spec.UnmapRequest, trial: Trial): Outcome | undefined {
    const { table, spaces } = this.#parts;
    const { virt_start, virt_end, reserved } = request;
    if (!this.#parts.has(spec.VIRTIO_IOMMU_F_MAP_UNMAP)) return { status: spec.S_UNSUPP };
    if (reserved !== 0) return { status: spec.S_INVAL };
    const domain = table.get(request.domain);
    if (domain === undefined) return { status: spec.S_NOENT };
    if (domain.isBypass || virt_end < virt_start) return { status: spec.S_INVAL };
    const touched = { start: Number(virt_start >> 12n), end: Number(virt_end >> 12n) + 1 };
    if (this.#isTentative(domain, touched, trial)) return undefined;
    const { mappings } = domain;
    // Mappings do not overlap: only those at the ends can reach over them, and a refusal costs no look at the others.
    if (isCut(mappings.find(touched.start), request) || isCut(mappings.find(touched.end - 1), request)) {
      return { status: spec.S_RANGE };
    }
    const affected: LedgerMapping[] = [];
    for (const mapping of mappings.mappings(touched.start)) {
      if (mapping.iova >= touched.end) break;
      affected.push(mapping);
    }
    const [first, last] = [affected[0], affected.at(-1)];
    if (first === undefined || last === undefined) return { status: spec.S_OK };
    const range = { start: first.iova, end: last.iova + last.pages };
    const concerned = spaces.ofDomain(domain);
    // Nothing here is refused, but hosts that know what precedes a MAP can tell which of its mappings was.
    trial.open(concerned);
    for (const { iova, pages } of affected) table.unmap(domain, iova, pages);
    spaces.changed(concerned, range);
    spaces.dropped(concerned, range);
    trial.touch(concerned);
    return { status: spec.S_OK };
  }

  #enter(domain: Domain, range: PageRange, request: spec.MapRequest, trial: Trial): Outcome {
    const { table, spaces, observer } = this.#parts;
    const outcome: Outcome = { status: spec.S_OK };
    const pages = range.end - range.start;
    const concerned = spaces.ofDomain(domain);
    trial.open(concerned);
    table.map(domain, range.start, pages, Number(request.phys_start >> 12n), request.flags);
    spaces.changed(concerned, range);
    if (this.#trial !== trial) this.#tentative = [];
    this.#trial = trial;
    this.#tentative.push({ domain, range });
    trial.add({
      spaces: concerned,
      range,
      revert: () => {
        table.unmap(domain, range.start, pages);
        const now = spaces.ofDomain(domain);
        spaces.changed(now, range);
        spaces.dropped(now, range);
        return now;
      },
      refused: (reason) => {
        outcome.status = spec.S_NOMEM;
        observeRefused(observer, `MAP of ${formatRange(range)} in domain ${domain.id}`, reason);
      },
    });
    return outcome;
  }

  /** The domain, or the status that refuses the request whatever is mapped. */
  #judgeMap(request: spec.MapRequest): Domain | number {
    const { table, settings } = this.#parts;
    const { virt_start, virt_end, phys_start, flags } = request;
    if (!this.#parts.has(spec.VIRTIO_IOMMU_F_MAP_UNMAP)) return spec.S_UNSUPP;
    if ((flags & ~this.#knownFlags()) !== 0) return spec.S_INVAL;
    const domain = table.get(request.domain);
    if (domain === undefined) return spec.S_NOENT;
    if (domain.isBypass) return spec.S_INVAL;
    const unaligned = (settings.pageSizeMask & -settings.pageSizeMask) - 1n;
    if (((virt_start | phys_start | (virt_end + 1n)) & unaligned) !== 0n) return spec.S_RANGE;
    if (virt_end < virt_start) return spec.S_INVAL;
    const { start, end } = settings.inputRange;
    const isLimited = (settings.features & spec.VIRTIO_IOMMU_F_INPUT_RANGE) !== 0n;
    if (isLimited && (virt_start < start || virt_end > end)) return spec.S_RANGE;
    // No guest-physical address space reaches further.
    if (phys_start + (virt_end - virt_start) >= ADDRESSES) return spec.S_FAULT;
    return touchesReserved(settings, pagesOf(request)) ? spec.S_INVAL : domain;
  }

  #knownFlags(): number {
    const mmio = this.#parts.has(spec.VIRTIO_IOMMU_F_MMIO) ? spec.MAP_F_MMIO : 0;
    return spec.MAP_F_READ | spec.MAP_F_WRITE | mmio;
  }

  #isTentative(domain: Domain, range: PageRange, trial: Trial): boolean {
    if (this.#trial !== trial) return false;
    return this.#tentative.some((one) => one.domain === domain && overlaps(one.range, range));
  }
}

/** Whether an UNMAP would take a part of `mapping` only. */
function isCut(mapping: LedgerMapping | undefined, { virt_start, virt_end }: spec.UnmapRequest): boolean {
  if (mapping === undefined) return false;
  return addressOf(mapping.iova) < virt_start || addressOf(mapping.iova + mapping.pages) - 1n > virt_end;
}

function pagesOf({ virt_start, virt_end }: spec.MapRequest): PageRange {
  return { start: Number(virt_start >> 12n), end: Number((virt_end + 1n) >> 12n) };
}
