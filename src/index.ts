/**
 * The IOMMU side of a virtual machine. This face has everything that runs anywhere, a browser included; what reads
 * captures and cores is in `viommu/guests`, what calls the kernel is in `viommu/linux`; both need Node.
 *
 * @module
 */
export * from './iommu/index.ts';
export * from './machine/index.ts';
export * from './memory/index.ts';
export * as amdvi from './models/amdvi/index.ts';
export * as virtio from './models/virtio/index.ts';
export * as vtd from './models/vtd/index.ts';
export * from './pci/index.ts';
export * from './vfio/index.ts';
export * as vfioUser from './vfio-user/index.ts';
