/** struct virtio_iommu_config (virtio 1.3, 5.13.4). All fields are little-endian. @module */

/** Bytes of the configuration space. */
export const CONFIG_BYTES = 40;

/** Byte offsets of its fields; the ranges are a start and, at once behind it, an inclusive end. */
export const PAGE_SIZE_MASK_OFFSET = 0;
export const INPUT_RANGE_OFFSET = 8;
export const DOMAIN_RANGE_OFFSET = 24;
export const PROBE_SIZE_OFFSET = 32;
export const BYPASS_OFFSET = 36;

/** The configuration as a driver reads it. */
export interface VirtioIommuConfig {
  /** Page sizes in bytes as a bit mask; the lowest bit is the granularity of mappings. */
  readonly page_size_mask: bigint;
  /** Virtual addresses that can be mapped, both inclusive; valid with INPUT_RANGE. */
  readonly input_range: { readonly start: bigint; readonly end: bigint };
  /** Domain IDs, both inclusive; valid with DOMAIN_RANGE. */
  readonly domain_range: { readonly start: number; readonly end: number };
  /** Bytes of a PROBE request's properties; valid with PROBE. */
  readonly probe_size: number;
  /** 1 when endpoints that are not attached are in bypass mode, else 0; valid with BYPASS_CONFIG. */
  readonly bypass: number;
}

/** The configuration space of `config`, reserved bytes zero. */
export function encodeConfig(config: VirtioIommuConfig): Uint8Array {
  const bytes = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(PAGE_SIZE_MASK_OFFSET, config.page_size_mask, true);
  view.setBigUint64(INPUT_RANGE_OFFSET, config.input_range.start, true);
  view.setBigUint64(INPUT_RANGE_OFFSET + 8, config.input_range.end, true);
  view.setUint32(DOMAIN_RANGE_OFFSET, config.domain_range.start, true);
  view.setUint32(DOMAIN_RANGE_OFFSET + 4, config.domain_range.end, true);
  view.setUint32(PROBE_SIZE_OFFSET, config.probe_size, true);
  view.setUint8(BYPASS_OFFSET, config.bypass);
  return bytes;
}

/** The configuration in `bytes`, which are at least `CONFIG_BYTES` (RangeError otherwise). */
export function decodeConfig(bytes: Uint8Array): VirtioIommuConfig {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    page_size_mask: view.getBigUint64(PAGE_SIZE_MASK_OFFSET, true),
    input_range: {
      start: view.getBigUint64(INPUT_RANGE_OFFSET, true),
      end: view.getBigUint64(INPUT_RANGE_OFFSET + 8, true),
    },
    domain_range: {
      start: view.getUint32(DOMAIN_RANGE_OFFSET, true),
      end: view.getUint32(DOMAIN_RANGE_OFFSET + 4, true),
    },
    probe_size: view.getUint32(PROBE_SIZE_OFFSET, true),
    bypass: view.getUint8(BYPASS_OFFSET),
  };
}
