/**
 * Requests (virtio 1.3, 5.13.6): a device-readable part that begins with struct virtio_iommu_req_head, and a
 * device-writable part that ends with struct virtio_iommu_req_tail. All fields are little-endian, addresses are byte
 * addresses, ends are inclusive.
 *
 * @module
 */

/** Virtqueues (5.13.2). */
export const REQUESTQ = 0;
export const EVENTQ = 1;

/** `type` of struct virtio_iommu_req_head. */
export const T_ATTACH = 1;
export const T_DETACH = 2;
export const T_MAP = 3;
export const T_UNMAP = 4;
export const T_PROBE = 5;

/** `status` of struct virtio_iommu_req_tail. */
export const S_OK = 0;
/** Virtio communication error. */
export const S_IOERR = 1;
/** Unsupported request. */
export const S_UNSUPP = 2;
/** Internal device error. */
export const S_DEVERR = 3;
/** Invalid parameters. */
export const S_INVAL = 4;
/** Out-of-range parameters. */
export const S_RANGE = 5;
/** Entry not found. */
export const S_NOENT = 6;
/** Bad address. */
export const S_FAULT = 7;
/** Insufficient resources. */
export const S_NOMEM = 8;

/** `flags` of ATTACH (5.13.6.3): the domain is a bypass domain. */
export const ATTACH_F_BYPASS = 1;

/** `flags` of MAP (5.13.6.5). */
export const MAP_F_READ = 1;
export const MAP_F_WRITE = 2;
export const MAP_F_MMIO = 4;

/** Bytes of the head and of the tail. */
export const HEAD_BYTES = 4;
export const TAIL_BYTES = 4;

/** Bytes of the device-readable part of each type; behind it only PROBE has more than the tail. */
export const READABLE_BYTES: {
  readonly attach: 20;
  readonly detach: 20;
  readonly map: 36;
  readonly unmap: 28;
  readonly probe: 72;
} = { attach: 20, detach: 20, map: 36, unmap: 28, probe: 72 };

/** struct virtio_iommu_req_attach (5.13.6.3). */
export interface AttachRequest {
  readonly type: typeof T_ATTACH;
  readonly domain: number;
  readonly endpoint: number;
  readonly flags: number;
  /** `reserved`, which must be zero. */
  readonly reserved: number;
}

/** struct virtio_iommu_req_detach (5.13.6.4); its reserved field is ignored. */
export interface DetachRequest {
  readonly type: typeof T_DETACH;
  readonly domain: number;
  readonly endpoint: number;
}

/** struct virtio_iommu_req_map (5.13.6.5). */
export interface MapRequest {
  readonly type: typeof T_MAP;
  readonly domain: number;
  readonly virt_start: bigint;
  /** Last byte, inclusive. */
  readonly virt_end: bigint;
  readonly phys_start: bigint;
  readonly flags: number;
}

/** struct virtio_iommu_req_unmap (5.13.6.6). */
export interface UnmapRequest {
  readonly type: typeof T_UNMAP;
  readonly domain: number;
  readonly virt_start: bigint;
  /** Last byte, inclusive. */
  readonly virt_end: bigint;
  /** `reserved`, which should be zero. */
  readonly reserved: number;
}

/** struct virtio_iommu_req_probe (5.13.6.7), its device-readable part; its reserved field is ignored. */
export interface ProbeRequest {
  readonly type: typeof T_PROBE;
  readonly endpoint: number;
}

/** Any request. */
export type Request = AttachRequest | DetachRequest | MapRequest | UnmapRequest | ProbeRequest;

/** The device-readable part of `request`. */
export function encodeRequest(request: Request): Uint8Array {
  const bytes = new Uint8Array(readableBytes(request.type));
  const view = new DataView(bytes.buffer);
  view.setUint8(0, request.type);
  switch (request.type) {
    case T_ATTACH:
      view.setUint32(4, request.domain, true);
      view.setUint32(8, request.endpoint, true);
      view.setUint32(12, request.flags, true);
      view.setUint32(16, request.reserved, true);
      break;
    case T_DETACH:
      view.setUint32(4, request.domain, true);
      view.setUint32(8, request.endpoint, true);
      break;
    case T_MAP:
      view.setUint32(4, request.domain, true);
      view.setBigUint64(8, request.virt_start, true);
      view.setBigUint64(16, request.virt_end, true);
      view.setBigUint64(24, request.phys_start, true);
      view.setUint32(32, request.flags, true);
      break;
    case T_UNMAP:
      view.setUint32(4, request.domain, true);
      view.setBigUint64(8, request.virt_start, true);
      view.setBigUint64(16, request.virt_end, true);
      view.setUint32(24, request.reserved, true);
      break;
    case T_PROBE:
      view.setUint32(4, request.endpoint, true);
      break;
  }
  return bytes;
}

/** The request whose device-readable part `bytes` begins with; undefined when the type is unknown or they are too few. */
export function decodeRequest(bytes: Uint8Array): Request | undefined {
  const type = bytes[0];
  if (type === undefined || bytes.length < readableBytes(type)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type) {
    case T_ATTACH:
      return {
        type,
        domain: view.getUint32(4, true),
        endpoint: view.getUint32(8, true),
        flags: view.getUint32(12, true),
        reserved: view.getUint32(16, true),
      };
    case T_DETACH:
      return { type, domain: view.getUint32(4, true), endpoint: view.getUint32(8, true) };
    case T_MAP:
      return {
        type,
        domain: view.getUint32(4, true),
        virt_start: view.getBigUint64(8, true),
        virt_end: view.getBigUint64(16, true),
        phys_start: view.getBigUint64(24, true),
        flags: view.getUint32(32, true),
      };
    case T_UNMAP:
      return {
        type,
        domain: view.getUint32(4, true),
        virt_start: view.getBigUint64(8, true),
        virt_end: view.getBigUint64(16, true),
        reserved: view.getUint32(24, true),
      };
    case T_PROBE:
      return { type, endpoint: view.getUint32(4, true) };
    default:
      return undefined;
  }
}

/** Bytes of the device-readable part of a request of `type`; infinite for a type that does not exist. */
export function readableBytes(type: number): number {
  switch (type) {
    case T_ATTACH:
      return READABLE_BYTES.attach;
    case T_DETACH:
      return READABLE_BYTES.detach;
    case T_MAP:
      return READABLE_BYTES.map;
    case T_UNMAP:
      return READABLE_BYTES.unmap;
    case T_PROBE:
      return READABLE_BYTES.probe;
    default:
      return Number.POSITIVE_INFINITY;
  }
}
