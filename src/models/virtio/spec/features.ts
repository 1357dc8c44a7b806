/** Feature bits, as masks of the 64-bit feature word (virtio 1.3, 5.13.3 and 6). @module */

/** The virtual addresses that can be mapped are in `input_range`. */
export const VIRTIO_IOMMU_F_INPUT_RANGE: bigint = 1n << 0n;
/** The domains that can be used are in `domain_range`. */
export const VIRTIO_IOMMU_F_DOMAIN_RANGE: bigint = 1n << 1n;
/** MAP and UNMAP are available. */
export const VIRTIO_IOMMU_F_MAP_UNMAP: bigint = 1n << 2n;
/** Endpoints that are not attached are in bypass mode; superseded by BYPASS_CONFIG. */
export const VIRTIO_IOMMU_F_BYPASS: bigint = 1n << 3n;
/** PROBE is available. */
export const VIRTIO_IOMMU_F_PROBE: bigint = 1n << 4n;
/** The flag MMIO of MAP is available. */
export const VIRTIO_IOMMU_F_MMIO: bigint = 1n << 5n;
/** The field `bypass` of the configuration, and the flag BYPASS of ATTACH, are available. */
export const VIRTIO_IOMMU_F_BYPASS_CONFIG: bigint = 1n << 6n;

/** A descriptor may refer to a table of descriptors (2.7.5.3). */
export const VIRTIO_F_INDIRECT_DESC: bigint = 1n << 28n;
/** Notifications are suppressed by index and not by flag (2.7.7, 2.7.10). */
export const VIRTIO_F_EVENT_IDX: bigint = 1n << 29n;
/** The device follows this specification and not the drafts before it (6.1). */
export const VIRTIO_F_VERSION_1: bigint = 1n << 32n;
/** The device's own accesses go through an IOMMU (6). */
export const VIRTIO_F_ACCESS_PLATFORM: bigint = 1n << 33n;
