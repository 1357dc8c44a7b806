/** Requests of a virtio-iommu driver, and the parts of memory that they take (virtio 1.3, 5.13.6). @module */
import { spec } from '../../models/virtio/index.ts';

/** Any bytes: what no driver would send. */
export interface RawRequest extends RequestParts {
  readonly type: 'raw';
}

/** One request of any kind. */
export type VirtioIommuRequest = spec.Request | RawRequest;

/** The parts of a request, each of which is one descriptor. */
export interface RequestParts {
  /** What the device reads. */
  readonly readable: readonly Uint8Array[];
  /** Bytes of each part that the device writes; they come after the readable ones. */
  readonly writable: readonly number[];
}

/** `request` as a driver lays it out: one part to read, one to write. `probeSize` is that of the device configuration. */
export function partsOf(request: VirtioIommuRequest, probeSize: number): RequestParts {
  if (request.type === 'raw') return request;
  const writable = request.type === spec.T_PROBE ? probeSize + spec.TAIL_BYTES : spec.TAIL_BYTES;
  return { readable: [spec.encodeRequest(request)], writable: [writable] };
}
