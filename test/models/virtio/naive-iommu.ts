import type { PageRange } from '../../../src/memory/index.ts';
import { spec } from '../../../src/models/virtio/index.ts';

/** What one MAP request asked for. */
interface NaiveMapping {
  readonly start: number;
  readonly end: number;
  readonly target: number;
  readonly flags: number;
}

interface NaiveDomain {
  readonly isBypass: boolean;
  readonly endpoints: Set<number>;
  /** By page, each of the pages of one request the same object. */
  readonly pages: Map<number, NaiveMapping>;
}

/** The specification, page by page: what an obedient device answers and maps when no host refuses anything. */
export class NaiveIommu {
  readonly domains: Map<number, NaiveDomain> = new Map();
  bypass: boolean;

  constructor(bypass: boolean) {
    this.bypass = bypass;
  }

  /** The status of `request`, which is carried out when that is OK and `isRefused` is not set. */
  do(request: spec.Request, isRefused: boolean): number {
    switch (request.type) {
      case spec.T_ATTACH: {
        const isBypass = request.flags === spec.ATTACH_F_BYPASS;
        const domain = this.domains.get(request.domain);
        if (domain !== undefined && domain.isBypass !== isBypass) return spec.S_INVAL;
        if (isRefused || domain?.endpoints.has(request.endpoint) === true) return spec.S_OK;
        this.#leave(request.endpoint);
        const joined = this.domains.get(request.domain) ?? {
          isBypass,
          endpoints: new Set<number>(),
          pages: new Map<number, NaiveMapping>(),
        };
        joined.endpoints.add(request.endpoint);
        this.domains.set(request.domain, joined);
        return spec.S_OK;
      }
      case spec.T_DETACH:
        if (this.domains.get(request.domain)?.endpoints.has(request.endpoint) !== true) return spec.S_INVAL;
        this.#leave(request.endpoint);
        return spec.S_OK;
      case spec.T_MAP:
        return this.#map(request, isRefused);
      case spec.T_UNMAP:
        return this.#unmap(request);
      default:
        return spec.S_OK;
    }
  }

  /** Where each page of `endpoint` leads, with its access, when these pages are RAM. */
  reach(endpoint: number, ram: readonly PageRange[]): Map<number, string> {
    const reached = new Map<number, string>();
    const domain = [...this.domains.values()].find(({ endpoints }) => endpoints.has(endpoint));
    if (domain?.isBypass ?? this.bypass) {
      for (const { start, end } of ram) {
        for (let page = start; page < end; page++) reached.set(page, `${page} 3`);
      }
    }
    for (const [page, { start, target, flags }] of domain?.pages ?? []) {
      const to = target + page - start;
      const isRam = ram.some((range) => range.start <= to && to < range.end);
      if (isRam && (flags & 3) !== 0) reached.set(page, `${to} ${flags & 3}`);
    }
    return reached;
  }

  #leave(endpoint: number): void {
    for (const [id, { endpoints }] of this.domains) {
      if (endpoints.delete(endpoint) && endpoints.size === 0) this.domains.delete(id);
    }
  }

  #map(request: spec.MapRequest, isRefused: boolean): number {
    const domain = this.domains.get(request.domain);
    if (domain === undefined) return spec.S_NOENT;
    if (domain.isBypass) return spec.S_INVAL;
    const start = Number(request.virt_start >> 12n);
    const end = Number((request.virt_end + 1n) >> 12n);
    for (let page = start; page < end; page++) if (domain.pages.has(page)) return spec.S_INVAL;
    if (isRefused) return spec.S_OK;
    const mapping = { start, end, target: Number(request.phys_start >> 12n), flags: request.flags };
    for (let page = start; page < end; page++) domain.pages.set(page, mapping);
    return spec.S_OK;
  }

  #unmap(request: spec.UnmapRequest): number {
    const domain = this.domains.get(request.domain);
    if (domain === undefined) return spec.S_NOENT;
    if (domain.isBypass) return spec.S_INVAL;
    const start = Number(request.virt_start >> 12n);
    const end = Number((request.virt_end + 1n) >> 12n);
    for (let page = start; page < end; page++) {
      const mapping = domain.pages.get(page);
      if (mapping !== undefined && (mapping.start < start || mapping.end > end)) return spec.S_RANGE;
    }
    for (let page = start; page < end; page++) domain.pages.delete(page);
    return spec.S_OK;
  }
}
