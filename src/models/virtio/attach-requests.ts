import { formatRequesterId } from '../../iommu/index.ts';
import { Domain } from './domain-table.ts';
import { observeRefused, type Outcome, type RequestParts } from './request-parts.ts';
import * as spec from './spec/index.ts';
import type { Trial } from './trial.ts';

/** ATTACH and DETACH (virtio 1.3, 5.13.6.3 and 5.13.6.4). */
export class AttachRequests {
  readonly #parts: RequestParts;

  constructor(parts: RequestParts) {
    this.#parts = parts;
  }

  attach(request: spec.AttachRequest, trial: Trial): Outcome | undefined {
    const { table, spaces, observer } = this.#parts;
    const { endpoint } = request;
    const status = this.#judgeAttach(request);
    const before = table.domainOf(endpoint);
    if (status !== spec.S_OK || before?.id === request.domain) return { status };
    if (!trial.isEmpty) return undefined;
    trial.isClosed = true;
    const outcome: Outcome = { status };
    const isBypass = (request.flags & spec.ATTACH_F_BYPASS) !== 0;
    const domain = table.get(request.domain) ?? new Domain(request.domain, isBypass);
    const concerned = spaces.ofEndpoint(endpoint);
    const move = (to: Domain | undefined): void => {
      table.move(endpoint, to);
      spaces.refresh(spaces.ofEndpoint(endpoint));
    };
    trial.open(concerned);
    move(domain);
    trial.add({
      spaces: concerned,
      range: undefined,
      revert: () => {
        move(before);
        return spaces.ofEndpoint(endpoint);
      },
      refused: (reason) => {
        // 5.13.6.3.2: "If the device cannot do so, it MUST reject the request and set status to VIRTIO_IOMMU_S_UNSUPP."
        outcome.status = spec.S_UNSUPP;
        observeRefused(
          observer,
          `ATTACH of ${formatRequesterId(endpoint)} to domain ${request.domain}`,
          reason,
        );
      },
    });
    return outcome;
  }

  detach({ domain, endpoint }: spec.DetachRequest, trial: Trial): Outcome | undefined {
    const { table, spaces, settings } = this.#parts;
    if (!settings.endpointExists(endpoint)) return { status: spec.S_NOENT };
    if (table.domainOf(endpoint)?.id !== domain) return { status: spec.S_INVAL };
    if (!trial.isEmpty) return undefined;
    trial.isClosed = true;
    const concerned = spaces.ofEndpoint(endpoint);
    table.move(endpoint, undefined);
    spaces.refresh(concerned);
    trial.touch(concerned);
    return { status: spec.S_OK };
  }

  #judgeAttach({ domain, endpoint, flags, reserved }: spec.AttachRequest): number {
    const { table, settings } = this.#parts;
    const known = this.#parts.has(spec.VIRTIO_IOMMU_F_BYPASS_CONFIG) ? spec.ATTACH_F_BYPASS : 0;
    if (reserved !== 0 || (flags & ~known) !== 0) return spec.S_INVAL;
    if (!settings.endpointExists(endpoint)) return spec.S_NOENT;
    const { start, end } = settings.domainRange;
    const isLimited = (settings.features & spec.VIRTIO_IOMMU_F_DOMAIN_RANGE) !== 0n;
    if (isLimited && (domain < start || domain > end)) return spec.S_RANGE;
    const existing = table.get(domain);
    if (existing === undefined) return table.hasRoomFor(endpoint) ? spec.S_OK : spec.S_NOMEM;
    return existing.isBypass === ((flags & spec.ATTACH_F_BYPASS) !== 0) ? spec.S_OK : spec.S_INVAL;
  }
}
