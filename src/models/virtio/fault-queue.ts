import { formatRequesterId } from '../../iommu/index.ts';
import { Access, addressOf, formatAccess, formatPage, type Observer } from '../../memory/index.ts';
import type { EndpointId } from './domain-table.ts';
import * as spec from './spec/index.ts';
import type { VirtioDevice } from './virtio-device.ts';

/** Reports faults on the event queue (virtio 1.3, 5.13.6.9). */
export class FaultQueue {
  readonly #device: VirtioDevice;
  readonly #observer: Observer | undefined;
  #dropped = 0;

  constructor(device: VirtioDevice, observer: Observer | undefined) {
    this.#device = device;
    this.#observer = observer;
  }

  /** Faults for which the driver had no buffer. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Reports an access at `page` that was blocked, or a mapping there that was lost. */
  report(endpoint: EndpointId, page: number, access: Access, reason: number): void {
    const flags =
      spec.FAULT_F_ADDRESS |
      ((access & Access.Read) === 0 ? 0 : spec.FAULT_F_READ) |
      ((access & Access.Write) === 0 ? 0 : spec.FAULT_F_WRITE);
    const isReported = this.#write({ reason, flags, endpoint, address: addressOf(page) });
    if (!isReported) this.#dropped++;
    if (this.#observer === undefined) return;
    const requester = formatRequesterId(endpoint);
    this.#observer.observe({
      kind: 'guest-fault',
      source: 'virtio-iommu',
      message:
        `the access (${formatAccess(access)}) of ${requester} at ${formatPage(page)} was blocked: ${REASONS[reason]}. ` +
        (isReported ? 'It was reported.' : 'The driver had no buffer for the report, so it was dropped.'),
      details: {
        requester,
        address: addressOf(page),
        access: formatAccess(access),
        reason,
        outcome: isReported ? 'reported' : 'dropped',
      },
    });
  }

  /** "If a buffer is too small to contain the fault report, the device SHOULD NOT use multiple buffers to describe it." */
  #write(fault: spec.FaultReport): boolean {
    const queue = this.#device.activeQueue(spec.EVENTQ);
    const chain = queue?.take();
    const isWritten = chain?.write(0, spec.encodeFaultReport(fault)) ?? false;
    if (chain !== undefined) queue?.put(chain, isWritten ? spec.FAULT_BYTES : 0);
    this.#device.settleQueue(spec.EVENTQ);
    return isWritten;
  }
}

const REASONS: Readonly<Record<number, string>> = {
  [spec.FAULT_R_UNKNOWN]: 'its host cannot hold what the guest mapped',
  [spec.FAULT_R_DOMAIN]: 'it is not attached to a domain',
  [spec.FAULT_R_MAPPING]: 'nothing is mapped there for this access',
};
