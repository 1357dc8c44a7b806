/** Who uses which domain: attach, detach and switch, each with the invalidations that Linux posts for it. @module */
import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import type { DriverDomains, GuestDomain } from '../driver/domain.ts';
import { GuestDriverError } from '../driver/error.ts';
import { type Completion, inOrder } from '../driver/steps.ts';
import type { DriverInvalidator } from './invalidator.ts';
import { PASID_LIMIT, type RemappingStructures } from './structures.ts';

/** How a structure is changed. */
export interface StructureOptions {
  /** The unit is not told; false when left out. */
  readonly silent?: boolean;
}

/** Attachments of requesters, as the structures in memory say them. See {@link VtdGuestDriver} for the operations. */
export class DriverAttachments {
  readonly #structures: RemappingStructures;
  readonly #domains: DriverDomains;
  readonly #invalidator: DriverInvalidator;

  constructor(structures: RemappingStructures, domains: DriverDomains, invalidator: DriverInvalidator) {
    this.#structures = structures;
    this.#domains = domains;
    this.#invalidator = invalidator;
  }

  /** The domain of `requester`; undefined when it has none. */
  find(requester: RequesterId, pasid: number): GuestDomain | undefined {
    const translation = this.#structures.translation(requester, pasid);
    return translation === undefined ? undefined : this.#domains.at(translation.domain, translation.tables);
  }

  /** The domain of `requester`. GuestDriverError `attachment` when it has none. */
  get(requester: RequesterId, pasid: number): GuestDomain {
    const domain = this.find(requester, pasid);
    if (domain !== undefined) return domain;
    const name = formatRequesterId(requester);
    throw new GuestDriverError('attachment', `${name} is attached to no domain; attach it first`);
  }

  attach(
    requester: RequesterId,
    domain: GuestDomain,
    pasid: number,
    { silent = false }: StructureOptions,
  ): Completion {
    const structures = this.#structures;
    const invalidator = this.#invalidator;
    if (pasid < 0 || pasid >= PASID_LIMIT || (pasid > 0 && !invalidator.capability.PASID)) {
      const rule = `PASIDs lie below ${PASID_LIMIT}, and all but 0 need a unit with ECAP_REG.PASID`;
      throw new GuestDriverError('bad-argument', `PASID ${pasid} cannot be attached: ${rule}`);
    }
    if (structures.translation(requester, pasid) !== undefined) {
      const name = formatRequesterId(requester);
      throw new GuestDriverError('attachment', `${name} is attached already; switch it, or detach it first`);
    }
    const translation = { domain: domain.id, tables: domain.tables };
    if (!structures.scalable) {
      structures.set(requester, pasid, translation);
      return silent ? undefined : invalidator.post(invalidator.contextArrival(requester, domain.id));
    }
    const newContext = structures.prepareContext(requester, pasid > 0);
    structures.set(requester, pasid, translation);
    if (silent) return;
    return invalidator.post([
      ...(newContext ? invalidator.contextArrival(requester, 0) : []),
      ...invalidator.pasidArrival(domain.id, pasid),
    ]);
  }

  detach(requester: RequesterId, pasid: number, { silent = false }: StructureOptions): Completion {
    const { id } = this.get(requester, pasid);
    this.#structures.clear(requester, pasid);
    return silent ? undefined : this.#invalidator.post(this.#invalidator.departure(requester, pasid, id));
  }

  switch(requester: RequesterId, domain: GuestDomain, pasid: number, options: StructureOptions): Completion {
    if (!this.#structures.scalable) {
      return inOrder(
        () => this.detach(requester, pasid, options),
        () => this.attach(requester, domain, pasid, options),
      );
    }
    const { id } = this.get(requester, pasid);
    this.#structures.set(requester, pasid, { domain: domain.id, tables: domain.tables });
    return options.silent === true
      ? undefined
      : this.#invalidator.post(this.#invalidator.departure(requester, pasid, id));
  }

  /** Throws GuestDriverError `attachment` when a requester without PASID still uses `domain`. */
  requireUnused(domain: GuestDomain): void {
    for (const requester of this.#structures.requesters()) {
      if (this.#structures.domainId(requester) !== domain.id) continue;
      const name = formatRequesterId(requester);
      throw new GuestDriverError(
        'attachment',
        `${name} is still attached to domain ${domain.id}; detach it first`,
      );
    }
  }
}
