/** Which invalidations a guest's driver posts for what it changed, as Linux chooses them. @module */
import type { RequesterId } from '../../iommu/index.ts';
import type { PageRange } from '../../memory/index.ts';
import type { Capability } from '../../models/vtd/index.ts';
import { addressMask } from '../driver/address-mask.ts';
import type { MappingInvalidator } from '../driver/invalidator.ts';
import type { DriverQueue } from '../driver/queue.ts';
import type { Completion } from '../driver/steps.ts';
import * as dsc from './descriptors.ts';
import { PASS_THROUGH_DOMAIN } from './domain.ts';

/** Composes invalidations for one unit and posts them to its queue. */
export class DriverInvalidator implements MappingInvalidator {
  readonly capability: Capability;
  readonly queue: DriverQueue;
  readonly scalable: boolean;

  constructor(capability: Capability, queue: DriverQueue, scalable: boolean) {
    this.capability = capability;
    this.queue = queue;
    this.scalable = scalable;
  }

  /** With caching mode the unit may have cached that something is not present (VT-d 6.1). */
  get tellsOfMaps(): boolean {
    return this.capability.CM;
  }

  /** Posts descriptors and waits for them; nothing when there are none. */
  post(descriptors: readonly dsc.Descriptor[]): Completion {
    return descriptors.length === 0 ? undefined : this.queue.post(descriptors);
  }

  /** An IOTLB invalidation. */
  iotlb(scope: dsc.IotlbScope): dsc.Descriptor {
    return dsc.iotlbInvalidation(scope, this.capability);
  }

  /** Every cache, as after a new root table (VT-d 6.6). */
  everything(): readonly dsc.Descriptor[] {
    const pasids = this.scalable ? [dsc.pasidCacheInvalidation('global')] : [];
    return [dsc.contextInvalidation('global'), ...pasids, this.iotlb('global')];
  }

  /**
   * Pages of a domain: page-selective with the smallest mask that covers them, or the whole domain where the unit cannot
   * name that many.
   */
  invalidateRange(domain: number, range: PageRange, leavesOnly: boolean): Completion {
    const am = addressMask(range);
    if (!this.capability.PSI || am > this.capability.MAMV) return this.invalidateDomains([domain]);
    const iova = Math.floor(range.start / 2 ** am) * 2 ** am;
    return this.post([this.iotlb({ domain, iova, am, ih: leavesOnly })]);
  }

  invalidateDomains(ids: readonly number[]): Completion {
    return this.post(ids.map((domain) => this.iotlb({ domain })));
  }

  /** A context entry that was not present became so: with caching mode it may be cached as such, under domain 0. */
  contextArrival(requester: RequesterId, iotlbDomain: number): readonly dsc.Descriptor[] {
    if (!this.capability.CM) return [];
    return [dsc.contextInvalidation({ domain: 0, requester }), this.iotlb({ domain: iotlbDomain })];
  }

  /** The same for a PASID-table entry. */
  pasidArrival(domain: number, pasid: number): readonly dsc.Descriptor[] {
    if (!this.capability.CM) return [];
    return [dsc.pasidCacheInvalidation({ domain, pasid }), dsc.pasidIotlbInvalidation({ domain, pasid })];
  }

  /** `requester` lost the tables of `domain`. */
  departure(requester: RequesterId, pasid: number, domain: number): readonly dsc.Descriptor[] {
    if (!this.scalable) return [dsc.contextInvalidation({ domain, requester }), this.iotlb({ domain })];
    const contents =
      domain === PASS_THROUGH_DOMAIN ? dsc.pasidIotlbInvalidation({ domain, pasid }) : this.iotlb({ domain });
    return [dsc.pasidCacheInvalidation({ domain, pasid }), contents];
  }
}
