/**
 * The virtio IOMMU as the specification lays it out: feature bits, configuration, requests, fault reports, and the
 * split virtqueue that carries them, without behaviour. Section numbers are those of virtio 1.3; the prefixes
 * VIRTIO_IOMMU_ and VIRTQ_ of names are left out, save for those of feature bits.
 *
 * @module
 */

export * from './config.ts';
export * from './device-status.ts';
export * from './fault-report.ts';
export * from './features.ts';
export * from './probe.ts';
export * from './requests.ts';
export * from './virtqueue.ts';
