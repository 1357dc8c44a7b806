/** Sizes that the specification, or a peer's patience, sets. @module */

/** `max_data_xfer_size` of a peer that does not say: bytes in one read or write. Source: vfio-user, "Version". */
export const DEFAULT_MAX_DATA_XFER_SIZE = 0x10_0000;

/**
 * Bytes in one read or write that no decoder accepts more than, so that a claimed count is never the size of an
 * unreasonable allocation. It is the largest `max_data_xfer_size` that QEMU accepts.
 */
export const LARGEST_DATA_XFER_SIZE = 0x400_0000;

/** `max_dma_maps` of a peer that does not say: mappings at one time. Source: vfio-user, "Version". */
export const DEFAULT_MAX_DMA_MAPS = 65_535;

/** `max_dma_maps` that this implementation announces. */
export const MAX_DMA_MAPS = 65_535;

/** `max_msg_fds` that this implementation announces: descriptors in one message that it takes. */
export const DEFAULT_MAX_MSG_FDS = 16;

/** `max_msg_fds` of a peer that does not say. Source: vfio-user, "Version". */
export const UNSTATED_MAX_MSG_FDS = 1;

/** `pgsizes` of a peer that does not say: 4 KiB pages alone. Source: vfio-user, "Version". */
export const DEFAULT_PGSIZES = 0x1000n;

/** One more than the last 64-bit address. */
export const ADDRESS_END: bigint = 1n << 64n;
