import type { AccessText } from '../../../src/conform/index.ts';
import type { Leaf } from './leaf.ts';
import type { VirtioRequest } from './virtio-request.ts';

type RequestOf<Do extends VirtioRequest['do']> = Extract<VirtioRequest, { readonly do: Do }>;

interface Mapping {
  /** Bytes, both inclusive. */
  readonly first: bigint;
  readonly last: bigint;
  readonly to: bigint;
  readonly access: AccessText | undefined;
}

interface Domain {
  readonly bypass: boolean;
  readonly mappings: readonly Mapping[];
}

const ACCESS: readonly (AccessText | undefined)[] = [undefined, 'r', 'w', 'rw'];
/** READ, WRITE and MMIO. */
const MAP_FLAGS = 7;
/** Where input_range ends in the machines of scenarios. */
const INPUT_END = 2n ** 48n;
/** The doorbell for interrupts, which no request may map (5.13.6.8.3). */
const DOORBELL = { first: 0xfee0_0000n, last: 0xfeef_ffffn };

/** Domains and who is attached to them: what requests do to them (virtio 1.3, 5.13.6). */
export class VirtioDomains {
  readonly #domains: Map<number, Domain> = new Map();
  /** Domain of each endpoint. */
  readonly #attached: Map<number, number> = new Map();

  copy(): VirtioDomains {
    const copy = new VirtioDomains();
    for (const [id, domain] of this.#domains) copy.#domains.set(id, domain);
    for (const [endpoint, id] of this.#attached) copy.#attached.set(endpoint, id);
    return copy;
  }

  domainOf(endpoint: number): number | undefined {
    return this.#attached.get(endpoint);
  }

  /** What `endpoint` may reach; undefined when its requests pass. */
  leavesOf(endpoint: number, bypass: boolean): readonly Leaf[] | undefined {
    const id = this.#attached.get(endpoint);
    const domain = id === undefined ? undefined : this.#domains.get(id);
    if (domain === undefined) return bypass ? undefined : [];
    if (domain.bypass) return undefined;
    return domain.mappings.flatMap(({ first, last, to, access }) =>
      access === undefined
        ? []
        : [{ iova: pageOf(first), pages: pageOf(last + 1n - first), target: pageOf(to), access }],
    );
  }

  /** Returns the status. */
  take(request: VirtioRequest): string {
    switch (request.do) {
      case 'attach':
        return this.#attach(request);
      case 'detach':
        return this.#detach(request);
      case 'map':
        return this.#map(request);
      case 'unmap':
        return this.#unmap(request);
      case 'probe':
        return exists(request.endpoint) ? 'done' : 'NOENT';
      case 'invalid':
        return 'INVAL';
    }
  }

  #attach({ domain, endpoint, flags }: RequestOf<'attach'>): string {
    if (flags > 1) return 'INVAL';
    if (!exists(endpoint)) return 'NOENT';
    const bypass = flags === 1;
    const there = this.#domains.get(domain);
    if (there !== undefined && there.bypass !== bypass) return 'INVAL';
    if (this.#attached.get(endpoint) === domain) return 'done';
    this.#leave(endpoint);
    this.#domains.set(domain, there ?? { bypass, mappings: [] });
    this.#attached.set(endpoint, domain);
    return 'done';
  }

  #detach({ domain, endpoint }: RequestOf<'detach'>): string {
    if (!exists(endpoint)) return 'NOENT';
    if (this.#attached.get(endpoint) !== domain) return 'INVAL';
    this.#leave(endpoint);
    return 'done';
  }

  #map({ domain: id, first, last, to, flags }: RequestOf<'map'>): string {
    const domain = this.#domains.get(id);
    if (flags > MAP_FLAGS) return 'INVAL';
    if (domain === undefined) return 'NOENT';
    if (domain.bypass) return 'INVAL';
    if ([first, last + 1n, to].some((address) => address % 4096n !== 0n)) return 'RANGE';
    if (last < first) return 'INVAL';
    if (last >= INPUT_END) return 'RANGE';
    if (to + (last - first) >= 2n ** 64n) return 'FAULT';
    if ([DOORBELL, ...domain.mappings].some((other) => other.first <= last && other.last >= first))
      return 'INVAL';
    const mapping = { first, last, to, access: ACCESS[flags % 4] };
    this.#domains.set(id, { ...domain, mappings: [...domain.mappings, mapping] });
    return 'done';
  }

  #unmap({ domain: id, first, last }: RequestOf<'unmap'>): string {
    const domain = this.#domains.get(id);
    if (domain === undefined) return 'NOENT';
    if (domain.bypass || last < first) return 'INVAL';
    const touched = domain.mappings.filter((mapping) => mapping.first <= last && mapping.last >= first);
    if (touched.some((mapping) => mapping.first < first || mapping.last > last)) return 'RANGE';
    this.#domains.set(id, {
      ...domain,
      mappings: domain.mappings.filter((mapping) => !touched.includes(mapping)),
    });
    return 'done';
  }

  /** A domain that nobody is attached to any more ceases to exist (5.13.6.4). */
  #leave(endpoint: number): void {
    const id = this.#attached.get(endpoint);
    this.#attached.delete(endpoint);
    if (id !== undefined && ![...this.#attached.values()].includes(id)) this.#domains.delete(id);
  }
}

/** PCI has 2^16 endpoints. */
function exists(endpoint: number): boolean {
  return endpoint < 2 ** 16;
}

function pageOf(bytes: bigint): number {
  return Number(bytes / 4096n);
}
