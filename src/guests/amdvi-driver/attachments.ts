/** Who uses which domain: attach, detach and switch, each with the commands that Linux posts for it. @module */
import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import { Access } from '../../memory/index.ts';
import type { DriverDomains, GuestDomain } from '../driver/domain.ts';
import { GuestDriverError } from '../driver/error.ts';
import type { Completion } from '../driver/steps.ts';
import type { DeviceTable } from './device-table.ts';
import type { AmdviInvalidator } from './invalidator.ts';

/** How a device table entry is changed. */
export interface EntryOptions {
  /** The unit is not told; false when left out. */
  readonly silent?: boolean;
}

/** How a requester is attached. */
export interface AttachOptions extends EntryOptions {
  /** IR and IW of the device table entry; both when left out. */
  readonly access?: Access;
}

/** How a requester is detached. */
export interface DetachOptions extends EntryOptions {
  /** V is cleared, and the requester's requests pass as they are; without it they are blocked. */
  readonly unchecked?: boolean;
}

/** Attachments of requesters, as the device table says them. See {@link AmdviGuestDriver} for the operations. */
export class AmdviAttachments {
  readonly #table: DeviceTable;
  readonly #domains: DriverDomains;
  readonly #invalidator: AmdviInvalidator;

  constructor(table: DeviceTable, domains: DriverDomains, invalidator: AmdviInvalidator) {
    this.#table = table;
    this.#domains = domains;
    this.#invalidator = invalidator;
  }

  /** The domain of `requester`; undefined when it has none. */
  find(requester: RequesterId): GuestDomain | undefined {
    const translation = this.#table.translation(requester);
    return translation === undefined ? undefined : this.#domains.at(translation.domain, translation.tables);
  }

  /** The domain of `requester`. GuestDriverError `attachment` when it has none. */
  get(requester: RequesterId): GuestDomain {
    const domain = this.find(requester);
    if (domain !== undefined) return domain;
    const name = formatRequesterId(requester);
    throw new GuestDriverError('attachment', `${name} is attached to no domain; attach it first`);
  }

  attach(requester: RequesterId, domain: GuestDomain, options: AttachOptions): Completion {
    if (this.#table.translation(requester) !== undefined) {
      const name = formatRequesterId(requester);
      throw new GuestDriverError('attachment', `${name} is attached already; switch it, or detach it first`);
    }
    return this.#set(requester, domain, options);
  }

  detach(requester: RequesterId, { unchecked = false, silent = false }: DetachOptions): Completion {
    const { id } = this.get(requester);
    this.#table.clear(requester, unchecked);
    return silent ? undefined : this.#invalidator.deviceChanged(requester, id);
  }

  switch(requester: RequesterId, domain: GuestDomain, options: AttachOptions): Completion {
    const { id } = this.get(requester);
    return this.#set(requester, domain, options, id);
  }

  /** Throws GuestDriverError `attachment` when a requester still uses `domain`. */
  requireUnused(domain: GuestDomain): void {
    for (const requester of this.#table.requesters()) {
      if (this.#table.domainId(requester) !== domain.id) continue;
      const name = formatRequesterId(requester);
      throw new GuestDriverError(
        'attachment',
        `${name} is still attached to domain ${domain.id}; detach it first`,
      );
    }
  }

  #set(
    requester: RequesterId,
    domain: GuestDomain,
    { access = Access.ReadWrite, silent = false }: AttachOptions,
    left?: number,
  ): Completion {
    this.#invalidator.domains.add(domain.id);
    this.#table.set(requester, { domain: domain.id, tables: domain.tables }, access);
    return silent ? undefined : this.#invalidator.deviceChanged(requester, left);
  }
}
