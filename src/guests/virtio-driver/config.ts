import { spec } from '../../models/virtio/index.ts';
import type { VirtioTransport } from './transport.ts';

/**
 * Reads the device configuration (virtio 1.3, 5.13.4). Fields whose feature is not among the negotiated `features` are
 * not looked at and hold what is true without it.
 */
export async function readConfig(
  transport: VirtioTransport,
  features: bigint,
): Promise<spec.VirtioIommuConfig> {
  const field = async (feature: bigint, offset: number, bytes: 1 | 4 | 8, absent: bigint): Promise<bigint> =>
    (features & feature) === 0n ? absent : transport.readConfig(offset, bytes);
  const { VIRTIO_IOMMU_F_INPUT_RANGE: input, VIRTIO_IOMMU_F_DOMAIN_RANGE: domain } = spec;
  return {
    page_size_mask: await transport.readConfig(spec.PAGE_SIZE_MASK_OFFSET, 8),
    input_range: {
      start: await field(input, spec.INPUT_RANGE_OFFSET, 8, 0n),
      end: await field(input, spec.INPUT_RANGE_OFFSET + 8, 8, 2n ** 64n - 1n),
    },
    domain_range: {
      start: Number(await field(domain, spec.DOMAIN_RANGE_OFFSET, 4, 0n)),
      end: Number(await field(domain, spec.DOMAIN_RANGE_OFFSET + 4, 4, 0xffff_ffffn)),
    },
    probe_size: Number(await field(spec.VIRTIO_IOMMU_F_PROBE, spec.PROBE_SIZE_OFFSET, 4, 0n)),
    bypass: Number(await field(spec.VIRTIO_IOMMU_F_BYPASS_CONFIG, spec.BYPASS_OFFSET, 1, 0n)),
  };
}
