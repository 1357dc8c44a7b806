/** Properties that a PROBE request lists (virtio 1.3, 5.13.6.7 and 5.13.6.8). All fields are little-endian. @module */

/** `type` of struct virtio_iommu_probe_property, 12 bits. 0 ends the list. */
export const PROBE_T_NONE = 0;
export const PROBE_T_RESV_MEM = 1;

/** Bytes of struct virtio_iommu_probe_property: a le16 with `type` in bits 11:0, and a le16 `length`. */
export const PROPERTY_HEAD_BYTES = 4;

/** `subtype` of RESV_MEM (5.13.6.8.1). */
export const RESV_MEM_T_RESERVED = 0;
export const RESV_MEM_T_MSI = 1;

/** Bytes of struct virtio_iommu_probe_resv_mem, its head included. */
export const RESV_MEM_BYTES = 24;

/** Virtual addresses that a driver cannot map. */
export interface ReservedMemory {
  /** RESV_MEM_T_RESERVED or RESV_MEM_T_MSI. */
  readonly subtype: number;
  readonly start: bigint;
  /** Last byte, inclusive. */
  readonly end: bigint;
}

/** struct virtio_iommu_probe_resv_mem. */
export function encodeReservedMemory(region: ReservedMemory): Uint8Array {
  const bytes = new Uint8Array(RESV_MEM_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, PROBE_T_RESV_MEM, true);
  view.setUint16(2, RESV_MEM_BYTES - PROPERTY_HEAD_BYTES, true);
  view.setUint8(4, region.subtype);
  view.setBigUint64(8, region.start, true);
  view.setBigUint64(16, region.end, true);
  return bytes;
}

/** The RESV_MEM properties in a PROBE request's `properties`; others are passed over, as are malformed ones. */
export function decodeReservedMemory(properties: Uint8Array): ReservedMemory[] {
  const view = new DataView(properties.buffer, properties.byteOffset, properties.byteLength);
  const regions: ReservedMemory[] = [];
  let at = 0;
  while (at + PROPERTY_HEAD_BYTES <= properties.length) {
    const type = view.getUint16(at, true);
    const length = view.getUint16(at + 2, true);
    if ((type & 0xfff) === PROBE_T_NONE) break;
    const end = at + PROPERTY_HEAD_BYTES + length;
    if (type === PROBE_T_RESV_MEM && end >= at + RESV_MEM_BYTES && end <= properties.length) {
      regions.push({
        subtype: view.getUint8(at + 4),
        start: view.getBigUint64(at + 8, true),
        end: view.getBigUint64(at + 16, true),
      });
    }
    at = end;
  }
  return regions;
}
