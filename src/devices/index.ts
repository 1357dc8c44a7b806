/** Devices that `viommu serve` offers, and examples of how one is written. @module */
export * from './edu-device.ts';
export * from './edu-registers.ts';
export * from './probe-device.ts';
