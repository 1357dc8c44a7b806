/** The identity and status of a virtio device (virtio 1.3, 2.1, 5 and 5.13.1). @module */

/** Device ID of the IOMMU (5.13.1). */
export const VIRTIO_ID_IOMMU = 23;

/** The guest has found the device. */
export const ACKNOWLEDGE = 1;
/** The guest knows how to drive it. */
export const DRIVER = 2;
/** The driver is ready. */
export const DRIVER_OK = 4;
/** The driver has accepted features; it stays set when the device accepts what was chosen. */
export const FEATURES_OK = 8;
/** The device has met an error from which only a reset leads back. */
export const DEVICE_NEEDS_RESET = 64;
/** The guest has given up on the device. */
export const FAILED = 128;
