import { formatRequesterId, type RequesterId, type WalkBudget } from '../../iommu/index.ts';
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  DeviceRegion,
  PAGES_END,
  type PageRange,
} from '../../memory/index.ts';
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
export class EndpointSpace {
  readonly endpoint: RequesterId;
  readonly space: AddressSpace;
  readonly region: VirtioRegion;
  readonly #state: TranslationState;
  readonly #root: ContainerRegion;
  readonly #memory: AliasRegion;

  constructor(state: TranslationState, endpoint: RequesterId, options: EndpointSpaceOptions) {
    const name = formatRequesterId(endpoint);
    const { memory } = state;
    this.#state = state;
    this.endpoint = endpoint;
    this.region = new VirtioRegion(`virtio-iommu ${name}`, state, endpoint, options);
    this.#memory = new AliasRegion(`${name} bypass`, memory.root, 0, memory.root.pages);
    this.#root = new ContainerRegion(`${name} bus`, PAGES_END);
    this.#root.add(this.#memory, 0);
    this.#root.add(this.region, 0);
    const { doorbell, sendInterrupt } = options;
    if (doorbell !== undefined) {
      this.#root.add(doorbellRegion(name, doorbell, sendInterrupt), doorbell.start, 1);
    }
    this.space = new AddressSpace(`${name} as the endpoint sees it`, this.#root, memory.topology);
    this.#show();
  }

  /** Shows what the endpoint's attachment says now, and tells whoever follows it. */
  refresh(): void {
    this.#show();
    this.region.invalidate({ start: 0, end: PAGES_END });
  }

  /** Ends the ties to memory; no listener may be left. */
  dispose(): void {
    this.space.dispose();
    this.#root.remove(this.#memory);
    this.#memory.dispose();
  }

  #show(): void {
    const isBypassing = this.#state.isBypassing(this.endpoint);
    this.#state.memory.topology.transaction(() => {
      this.#memory.setEnabled(isBypassing);
      this.region.setEnabled(!isBypassing);
    });
  }
}

/** An aligned DWORD that is written is an interrupt; all else is refused. */
function doorbellRegion(name: string, pages: PageRange, send: SendInterrupt | undefined): DeviceRegion {
  const base = BigInt(pages.start) << 12n;
  return new DeviceRegion(`${name} MSI doorbell`, pages.end - pages.start, {
    read: () => false,
    write: (offset, data) => {
      if (data.length !== 4 || offset % 4 !== 0) return false;
      send?.(base + BigInt(offset), readLittleEndian(data));
      return true;
    },
  });
}
