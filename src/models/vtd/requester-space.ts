import { formatRequesterId, type RequesterId, type RequesterView } from '../../iommu/index.ts';
import { type AddressSpace, DeviceRegion, type PageRange } from '../../memory/index.ts';
import { isMessage, RequesterBus } from '../requester-bus.ts';
import { INTERRUPT_RANGE } from './interrupt-range.ts';
import type { RemappingState } from './remapping-state.ts';
import { VtdRegion, type VtdRegionOptions } from './vtd-region.ts';

/** Takes a device's write to the interrupt range: an interrupt request (VT-d 3.14). False when it is none. */
export type InterruptSink = (address: bigint, data: Uint8Array) => boolean;

/** How a requester's space is set up. */
export interface RequesterSpaceOptions extends VtdRegionOptions {
  readonly interrupt: InterruptSink;
}

/**
 * What one requester sees: system memory while its requests pass untranslated, its IOMMU region while they are
 * translated, and in both cases the interrupt range on top, which no table translates.
 */
export class RequesterSpace implements RequesterView {
  readonly requester: RequesterId;
  readonly region: VtdRegion;
  readonly #state: RemappingState;
  readonly #bus: RequesterBus;
  #protected: DeviceRegion[] = [];

  constructor(state: RemappingState, requester: RequesterId, options: RequesterSpaceOptions) {
    const name = formatRequesterId(requester);
    this.#state = state;
    this.requester = requester;
    this.region = new VtdRegion(`VT-d ${name}`, state, requester, options);
    this.#bus = new RequesterBus(name, this.region, state.memory);
    this.#bus.addOnTop(interruptRegion(name, options.interrupt), INTERRUPT_RANGE.start);
    this.refresh();
  }

  get space(): AddressSpace {
    return this.#bus.space;
  }

  /**
   * Looks the requester's structures up anew and shows system memory or the IOMMU region accordingly. Requests with
   * PASID each have their own translation, so a requester that may send them is always shown the region.
   */
  refresh(): void {
    this.#bus.show(this.#state.translationEnabled && !this.#passesThrough());
  }

  /** Domain of the structures that translate requests of `index` now; undefined when nothing does. */
  domainOf(index: number): number | undefined {
    if (!this.#state.translationEnabled) return undefined;
    const translation = this.region.translation(index);
    return translation.kind === 'fault' ? undefined : translation.domain;
  }

  isNested(index: number): boolean {
    return this.#state.capability.NEST && this.region.translation(index).kind === 'nested';
  }

  /** Pages of system memory that nobody may reach, instead of those of the last call. Translated requests do not see them. */
  setProtected(ranges: readonly PageRange[]): void {
    this.#state.memory.topology.transaction(() => {
      for (const region of this.#protected) this.#bus.removeOverMemory(region);
      this.#protected = ranges.map(({ start, end }) => {
        const region = new DeviceRegion('protected memory', end - start, REFUSES);
        this.#bus.addOverMemory(region, start);
        return region;
      });
    });
  }

  /** Ends the ties to system memory; no listener may be left. */
  dispose(): void {
    this.#bus.dispose();
  }

  #passesThrough(): boolean {
    const translation = this.region.translation(0);
    return translation.kind === 'pass-through' && !translation.pasids;
  }
}

const REFUSES = { read: (): boolean => false, write: (): boolean => false };

/** A write of one DWORD is an interrupt request (VT-d 3.14); all else is refused. */
function interruptRegion(name: string, interrupt: InterruptSink): DeviceRegion {
  const base = INTERRUPT_RANGE.start * 4096;
  return new DeviceRegion(`${name} interrupt range`, INTERRUPT_RANGE.end - INTERRUPT_RANGE.start, {
    read: () => false,
    write: (offset, data) => isMessage(offset, data) && interrupt(BigInt(base + offset), data),
  });
}
