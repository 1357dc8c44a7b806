import { type Followed, formatRequesterId, type RequesterId, type WalkBudget } from '../../iommu/index.ts';
import { type AddressSpace, ALL_PAGES, DeviceRegion, type PageRange } from '../../memory/index.ts';
import { isMessage, RequesterBus } from '../requester-bus.ts';
import { readLittleEndian, type SendInterrupt } from '../send-interrupt.ts';
import { type TranslationState, VirtioRegion } from './virtio-region.ts';

/** How the space of an endpoint is set up. */
export interface EndpointSpaceOptions {
  readonly budget?: WalkBudget;
  /** Pages of the MSI doorbell; none when left out. */
  readonly doorbell?: PageRange | undefined;
  readonly sendInterrupt?: SendInterrupt | undefined;
}

/**
 * What one endpoint sees: memory while it is in bypass mode, else its region; and in both cases the MSI doorbell on top,
 * which no request maps.
 */
export class EndpointSpace implements Followed {
  /** The endpoint. */
  readonly requester: RequesterId;
  readonly region: VirtioRegion;
  readonly #state: TranslationState;
  readonly #bus: RequesterBus;

  constructor(state: TranslationState, endpoint: RequesterId, options: EndpointSpaceOptions) {
    const name = formatRequesterId(endpoint);
    const { memory } = state;
    this.#state = state;
    this.requester = endpoint;
    this.region = new VirtioRegion(`virtio-iommu ${name}`, state, endpoint, options);
    this.#bus = new RequesterBus(name, this.region, memory);
    const { doorbell, sendInterrupt } = options;
    if (doorbell !== undefined) {
      this.#bus.addOnTop(doorbellRegion(name, doorbell, sendInterrupt), doorbell.start);
    }
    this.#show();
  }

  get space(): AddressSpace {
    return this.#bus.space;
  }

  /** Shows what the endpoint's attachment says now, and tells whoever follows it. */
  refresh(): void {
    this.#show();
    this.region.invalidate(ALL_PAGES);
    this.region.invalidateDeviceIotlb(ALL_PAGES, 0);
  }

  /** Ends the ties to memory; no listener may be left. */
  dispose(): void {
    this.#bus.dispose();
  }

  #show(): void {
    this.#bus.show(!this.#state.isBypassing(this.requester));
  }
}

/** An aligned DWORD that is written is an interrupt; all else is refused. */
function doorbellRegion(name: string, pages: PageRange, send: SendInterrupt | undefined): DeviceRegion {
  const base = BigInt(pages.start) << 12n;
  return new DeviceRegion(`${name} MSI doorbell`, pages.end - pages.start, {
    read: () => false,
    write: (offset, data) => {
      if (!isMessage(offset, data)) return false;
      send?.(base + BigInt(offset), readLittleEndian(data));
      return true;
    },
  });
}
