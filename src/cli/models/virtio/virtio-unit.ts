import type { IommuRegion, RequesterId } from '../../../iommu/index.ts';
import type { PageRange, TranslationFault } from '../../../memory/index.ts';
import { type VirtioIommu, VirtioRegion } from '../../../models/virtio/index.ts';
import { plural } from '../../terminal/text.ts';
import type { FaultWords } from '../fault-words.ts';
import type { OpenIommu } from '../open-iommu.ts';
import type { RecordedGuest } from '../recorded-guest.ts';
import type { Trace } from '../trace.ts';
import type { RequesterFinding, Translation } from '../translation.ts';
import { traceVirtio, translationOf, virtioFault } from './virtio-translation.ts';

/** Pages of the MSI doorbell of x86. */
export const DOORBELL: PageRange = { start: 0xfee00, end: 0xfef00 };

/** What a virtio IOMMU was opened from. */
export interface VirtioState {
  readonly iommu: VirtioIommu;
  /** Endpoints that requests name, ascending. */
  readonly endpoints: readonly RequesterId[];
  /** Requests that led to this state. */
  readonly played: number;
  /** What the guest did after the plug, if that is recorded. */
  readonly guest: RecordedGuest | undefined;
}

/** A virtio IOMMU as the commands see it. */
export class OpenVirtio implements OpenIommu {
  readonly iommu: VirtioIommu;
  readonly off = undefined;
  readonly nobody = 'no endpoint is attached to a domain';
  readonly interrupts: { readonly range: PageRange; readonly rule: string } = {
    range: DOORBELL,
    rule: 'whatever is mapped (a reserved region of type MSI, virtio 5.13.6.7)',
  };
  readonly #state: VirtioState;

  constructor(state: VirtioState) {
    this.iommu = state.iommu;
    this.#state = state;
  }

  get summary(): string {
    const { played, endpoints } = this.#state;
    const domains = new Set(endpoints.map((endpoint) => this.iommu.domainOf(endpoint)?.id));
    domains.delete(undefined);
    return `${plural(played, 'request')} played, ${plural(domains.size, 'domain')}`;
  }

  exempt(requester: RequesterId): string | undefined {
    return this.iommu.isBypassing(requester) ? 'the endpoint is in bypass mode' : undefined;
  }

  *requesters(): Generator<RequesterFinding, void, undefined> {
    for (const requester of this.#state.endpoints) {
      if (this.iommu.domainOf(requester) === undefined) continue;
      yield { kind: 'requester', requester, translation: this.translation(requester) };
    }
  }

  translation(requester: RequesterId): Translation {
    return translationOf(this.iommu, requester);
  }

  trace(requester: RequesterId, _pasid: number | undefined, page: number): Trace {
    return traceVirtio(this.iommu, requester, page);
  }

  region(requester: RequesterId): IommuRegion {
    return new VirtioRegion('virtio-iommu', this.iommu, requester, {});
  }

  describeFault(fault: TranslationFault): FaultWords {
    return virtioFault(fault);
  }

  unfollowable(): string | undefined {
    return undefined;
  }

  recorded(): Promise<RecordedGuest | undefined> {
    return Promise.resolve(this.#state.guest);
  }
}
