import { formatRequesterId, type RequesterId, type RequesterView } from '../../iommu/index.ts';
import { Access, type AddressSpace, AliasRegion, DeviceRegion, type PageRange } from '../../memory/index.ts';
import { RequesterBus } from '../requester-bus.ts';
import { AmdviRegion, type AmdviRegionOptions } from './amdvi-region.ts';
import type { AmdviState } from './amdvi-state.ts';
import type { DeviceTranslation } from './device-translation.ts';
import { INTERRUPT_RANGE } from './interrupt-range.ts';

/** What a device writes to the interrupt range. */
export interface InterruptRequest {
  readonly requester: RequesterId;
  readonly address: bigint;
  /** What was written; undefined for a read. */
  readonly data: Uint8Array | undefined;
}

/** How a requester's space is set up. */
export interface AmdviSpaceOptions extends AmdviRegionOptions {
  /** Takes an access to the interrupt range; false when it is refused. */
  readonly interrupt: (request: InterruptRequest) => boolean;
}

/**
 * What one requester sees: system memory while its requests pass untranslated; while they are translated, its IOMMU
 * region with system memory in the exclusion range; and in both cases the interrupt range on top.
 */
export class AmdviSpace implements RequesterView {
  readonly requester: RequesterId;
  readonly region: AmdviRegion;
  readonly #state: AmdviState;
  readonly #bus: RequesterBus;
  /** The exclusion range as this requester sees it. */
  #window: AliasRegion | undefined;

  constructor(state: AmdviState, requester: RequesterId, options: AmdviSpaceOptions) {
    const name = formatRequesterId(requester);
    this.#state = state;
    this.requester = requester;
    this.region = new AmdviRegion(`AMD-Vi ${name}`, state, requester, options);
    this.#bus = new RequesterBus(name, this.region, state.memory);
    this.#bus.addOnTop(interruptRegion(requester, options), INTERRUPT_RANGE.start);
    this.refresh();
  }

  get space(): AddressSpace {
    return this.#bus.space;
  }

  refresh(): void {
    const translation = this.region.translation(0);
    const translated = !passesThrough(translation);
    const excluded = translation.kind !== 'pass-through' && translation.excluded;
    this.#state.memory.topology.transaction(() => {
      this.#bus.show(translated);
      this.#exclude(translated && excluded ? this.#state.exclusion?.range : undefined);
    });
  }

  domainOf(index: number): number | undefined {
    const translation = this.region.translation(index);
    return translation.kind === 'tables' || translation.kind === 'identity' ? translation.domain : undefined;
  }

  isNested(_index: number): boolean {
    return false;
  }

  dispose(): void {
    this.#bus.dispose();
    this.#exclude(undefined);
  }

  /** Shows system memory in `range` instead of the range of the last call. */
  #exclude(range: PageRange | undefined): void {
    const { root } = this.#state.memory;
    if (this.#window !== undefined) {
      this.#bus.removeOverAll(this.#window);
      this.#window.dispose();
      this.#window = undefined;
    }
    const end = Math.min(range?.end ?? 0, root.pages);
    if (range === undefined || range.start >= end) return;
    this.#window = new AliasRegion('exclusion range', root, range.start, end - range.start);
    this.#bus.addOverAll(this.#window, range.start);
  }
}

/** Mode 0 with every permission is the same to a device as no entry at all. */
function passesThrough(translation: DeviceTranslation): boolean {
  if (translation.kind === 'identity') return translation.access === Access.ReadWrite;
  return translation.kind === 'pass-through';
}

function interruptRegion(requester: RequesterId, { interrupt }: AmdviSpaceOptions): DeviceRegion {
  const pages = INTERRUPT_RANGE.end - INTERRUPT_RANGE.start;
  return new DeviceRegion(`${formatRequesterId(requester)} interrupt range`, pages, {
    read: (offset) => interrupt({ requester, address: interruptAddress(offset), data: undefined }),
    write: (offset, data) => interrupt({ requester, address: interruptAddress(offset), data }),
  });
}

function interruptAddress(offset: number): bigint {
  return BigInt(INTERRUPT_RANGE.start * 4096 + offset);
}
