/** Layouts of virtio over PCI, the modern interface (virtio 1.3, 4.1). @module */

/** Vendor-specific capability (PCI 3.0, appendix H), as which virtio structures are announced. */
export const PCI_CAP_ID_VNDR = 0x09;

/** Values of `cfg_type` (virtio 1.3, 4.1.4). */
export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;

/** Offsets in struct virtio_pci_cap (virtio 1.3, 4.1.4), and in struct virtio_pci_notify_cap (4.1.4.4). */
export const CAP_BAR = 4;
export const CAP_OFFSET = 8;
export const CAP_NOTIFY_OFF_MULTIPLIER = 16;

/** Offsets in struct virtio_pci_common_cfg (virtio 1.3, 4.1.4.3), with the width of each field in bytes. */
export const CommonConfig = {
  device_feature_select: [0, 4],
  device_feature: [4, 4],
  driver_feature_select: [8, 4],
  driver_feature: [12, 4],
  device_status: [20, 1],
  queue_select: [22, 2],
  queue_size: [24, 2],
  queue_enable: [28, 2],
  queue_notify_off: [30, 2],
  queue_desc: [32, 4],
  queue_driver: [40, 4],
  queue_device: [48, 4],
} as const;
