import { Ledger } from '../../iommu/index.ts';

/** Endpoint ID, which on PCI is the requester ID. */
export type EndpointId = number;

/** A virtual address space (virtio 1.3, 5.13.6.3): endpoints, and what is mapped for them. */
export class Domain {
  readonly id: number;
  /** Its endpoints are in bypass mode, and nothing is mapped. */
  readonly isBypass: boolean;
  /** One entry a MAP request, in pages. Bits 0-1 of the flags are the access, which may be none. */
  readonly mappings: Ledger = new Ledger();
  readonly endpoints: Set<EndpointId> = new Set();

  constructor(id: number, isBypass: boolean) {
    this.id = id;
    this.isBypass = isBypass;
  }
}

/** Which endpoint is attached to which domain. A domain exists while endpoints are attached to it (5.13.6.4). */
export class DomainTable {
  readonly #domains: Map<number, Domain> = new Map();
  readonly #attached: Map<EndpointId, Domain> = new Map();
  readonly #maxDomains: number;
  #mappings = 0;

  /** `maxDomains` can exist at once. */
  constructor(maxDomains: number) {
    this.#maxDomains = maxDomains;
  }

  /** The domain with this ID, if it exists. */
  get(id: number): Domain | undefined {
    return this.#domains.get(id);
  }

  /** The domain to which `endpoint` is attached, if it is attached. */
  domainOf(endpoint: EndpointId): Domain | undefined {
    return this.#attached.get(endpoint);
  }

  /** Whether there is room for one more domain when `endpoint` has left the one that it is attached to. */
  hasRoomFor(endpoint: EndpointId): boolean {
    const isFreed = this.domainOf(endpoint)?.endpoints.size === 1;
    return this.#domains.size - (isFreed ? 1 : 0) < this.#maxDomains;
  }

  /** Mappings in all domains together. */
  get mappingCount(): number {
    return this.#mappings;
  }

  /** Enters a mapping into `domain`, which exists; false, and nothing entered, when it overlaps another. */
  map(domain: Domain, iova: number, pages: number, target: number, flags: number): boolean {
    const isEntered = domain.mappings.insert(iova, pages, target, flags);
    if (isEntered) this.#mappings++;
    return isEntered;
  }

  /** Removes a mapping of `domain`, which exists; false when there is none exactly so. */
  unmap(domain: Domain, iova: number, pages: number): boolean {
    const isRemoved = domain.mappings.remove(iova, pages);
    if (isRemoved) this.#mappings--;
    return isRemoved;
  }

  /**
   * Attaches `endpoint` to `domain`, or to none, in place of what it was attached to. A domain that is left by its last
   * endpoint ceases to exist; moved back to it, it exists again as it was.
   */
  move(endpoint: EndpointId, domain: Domain | undefined): void {
    const before = this.#attached.get(endpoint);
    if (before !== undefined) {
      before.endpoints.delete(endpoint);
      if (before.endpoints.size === 0) {
        this.#domains.delete(before.id);
        this.#mappings -= before.mappings.size;
      }
    }
    if (domain === undefined) {
      this.#attached.delete(endpoint);
      return;
    }
    if (domain.endpoints.size === 0) {
      this.#domains.set(domain.id, domain);
      this.#mappings += domain.mappings.size;
    }
    domain.endpoints.add(endpoint);
    this.#attached.set(endpoint, domain);
  }

  /** Detaches every endpoint. */
  clear(): void {
    this.#domains.clear();
    this.#attached.clear();
    this.#mappings = 0;
  }
}
