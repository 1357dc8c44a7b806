import type { RequesterId, WalkBudget } from '../../iommu/index.ts';
import { type AddressSpace, type Observer, PAGE_SIZE, type PageRange } from '../../memory/index.ts';
import type { SendInterrupt } from '../send-interrupt.ts';
import * as spec from './spec/index.ts';

/** What a device is built from. */
export interface VirtioIommuOptions {
  /** Guest-physical memory: where queues and buffers are, and where translated accesses go. Must outlive the device. */
  readonly memory: AddressSpace;
  /**
   * Features to offer beside VIRTIO_F_VERSION_1; {@link DEFAULT_FEATURES} when left out. Of BYPASS and BYPASS_CONFIG only
   * one (virtio 1.3, 5.13.3.2).
   */
  readonly features?: bigint;
  /** `page_size_mask`: 4 KiB at the least; every size from 4 KiB on when left out. */
  readonly pageSizeMask?: bigint;
  /** `input_range`, byte addresses, both inclusive; all of 64 bits when left out. */
  readonly inputRange?: { readonly start: bigint; readonly end: bigint };
  /** `domain_range`, both inclusive; all of 32 bits when left out. */
  readonly domainRange?: { readonly start: number; readonly end: number };
  /** `probe_size` in bytes; 512 when left out. */
  readonly probeSize?: number;
  /** What `bypass` is after a system reset; true when left out. */
  readonly bootBypass?: boolean;
  /**
   * Reserved regions of every endpoint, whole pages that do not overlap, one MSI doorbell at the most. When left out, the
   * doorbell of x86, 0xfee00000-0xfeefffff.
   */
  readonly reserved?: readonly spec.ReservedMemory[];
  /** Domains that can exist at once, beyond which ATTACH is refused with S_NOMEM; 4,096 when left out. */
  readonly maxDomains?: number;
  /** Mappings in all domains together, beyond which MAP is refused with S_NOMEM; 2^20 when left out. */
  readonly maxMappings?: number;
  /** Whether the machine has an endpoint with this ID, 0 to 0xffff; every one when left out. Must not throw. */
  readonly endpointExists?: (endpoint: RequesterId) => boolean;
  /** Hears `guest-fault`, `request-refused`, `bad-buffer`, `needs-reset` and `sink-failed`. */
  readonly observer?: Observer;
  /** What one walk of a domain may cost. */
  readonly budget?: WalkBudget;
  /** Takes what endpoints write to the MSI doorbell. */
  readonly sendInterrupt?: SendInterrupt;
}

/** Offered when nothing else is asked for: everything but the superseded BYPASS. */
export const DEFAULT_FEATURES: bigint =
  spec.VIRTIO_IOMMU_F_INPUT_RANGE |
  spec.VIRTIO_IOMMU_F_DOMAIN_RANGE |
  spec.VIRTIO_IOMMU_F_MAP_UNMAP |
  spec.VIRTIO_IOMMU_F_PROBE |
  spec.VIRTIO_IOMMU_F_MMIO |
  spec.VIRTIO_IOMMU_F_BYPASS_CONFIG |
  spec.VIRTIO_F_INDIRECT_DESC |
  spec.VIRTIO_F_EVENT_IDX;

const X86_DOORBELL: spec.ReservedMemory = {
  subtype: spec.RESV_MEM_T_MSI,
  start: 0xfee0_0000n,
  end: 0xfeef_ffffn,
};

/** The options with their defaults, checked. */
export interface VirtioIommuSettings {
  readonly features: bigint;
  readonly pageSizeMask: bigint;
  readonly inputRange: { readonly start: bigint; readonly end: bigint };
  readonly domainRange: { readonly start: number; readonly end: number };
  readonly probeSize: number;
  readonly bootBypass: boolean;
  readonly reserved: readonly spec.ReservedMemory[];
  /** Pages of the reserved region with the same index. */
  readonly reservedPages: readonly PageRange[];
  readonly maxDomains: number;
  readonly maxMappings: number;
  readonly endpointExists: (endpoint: RequesterId) => boolean;
}

/** RangeError, with the remedy, when the options contradict the specification or each other. */
export function settingsOf(options: VirtioIommuOptions): VirtioIommuSettings {
  const reserved = options.reserved ?? [X86_DOORBELL];
  const { endpointExists } = options;
  const settings = {
    features: (options.features ?? DEFAULT_FEATURES) | spec.VIRTIO_F_VERSION_1,
    pageSizeMask: options.pageSizeMask ?? 0xffff_ffff_ffff_f000n,
    inputRange: options.inputRange ?? { start: 0n, end: 2n ** 64n - 1n },
    domainRange: options.domainRange ?? { start: 0, end: 0xffff_ffff },
    probeSize: options.probeSize ?? 512,
    bootBypass: options.bootBypass ?? true,
    reserved,
    reservedPages: reserved.map(pagesOf),
    maxDomains: options.maxDomains ?? 4096,
    maxMappings: options.maxMappings ?? 2 ** 20,
    endpointExists: (endpoint: number) => endpoint <= 0xffff && (endpointExists?.(endpoint) ?? true),
  };
  const wrong = complaint(settings);
  if (wrong !== undefined) throw new RangeError(`virtio-iommu: ${wrong}`);
  return settings;
}

const OFFERABLE = DEFAULT_FEATURES | spec.VIRTIO_IOMMU_F_BYPASS | spec.VIRTIO_F_VERSION_1;
const BOTH_BYPASSES = spec.VIRTIO_IOMMU_F_BYPASS | spec.VIRTIO_IOMMU_F_BYPASS_CONFIG;

function complaint(settings: VirtioIommuSettings): string | undefined {
  const { features, pageSizeMask, probeSize, reserved, reservedPages } = settings;
  if ((features & ~OFFERABLE) !== 0n) {
    return `the device cannot offer features 0x${(features & ~OFFERABLE).toString(16)}: leave them out`;
  }
  if ((features & BOTH_BYPASSES) === BOTH_BYPASSES) return 'offer BYPASS or BYPASS_CONFIG, not both';
  if (pageSizeMask === 0n || (pageSizeMask & -pageSizeMask) < BigInt(PAGE_SIZE)) {
    return `a page size mask of 0x${pageSizeMask.toString(16)}: set bits of 4 KiB (bit 12) and above only`;
  }
  if (reserved.length * spec.RESV_MEM_BYTES > probeSize) {
    return `${reserved.length} reserved regions do not fit a probe size of ${probeSize}: give ${reserved.length * spec.RESV_MEM_BYTES} or more`;
  }
  if (reserved.filter(({ subtype }) => subtype === spec.RESV_MEM_T_MSI).length > 1) {
    return 'reserve one MSI doorbell at the most';
  }
  const ascending = [...reservedPages].sort((a, b) => a.start - b.start);
  if (ascending.some((range, i) => range.start < (ascending[i - 1]?.end ?? 0))) {
    return 'reserved regions overlap: keep them apart';
  }
  return undefined;
}

function pagesOf({ start, end }: spec.ReservedMemory): PageRange {
  if (start % BigInt(PAGE_SIZE) !== 0n || (end + 1n) % BigInt(PAGE_SIZE) !== 0n || end <= start) {
    throw new RangeError(
      `virtio-iommu: the reserved region 0x${start.toString(16)}-0x${end.toString(16)} is not made of whole pages: align it to 4 KiB`,
    );
  }
  return { start: Number(start >> 12n), end: Number((end + 1n) >> 12n) };
}
