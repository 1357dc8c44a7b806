/** struct virtio_iommu_fault (virtio 1.3, 5.13.6.9). All fields are little-endian. @module */

/** Bytes of a fault report. */
export const FAULT_BYTES = 24;

/** `reason`: an error that the others do not describe. */
export const FAULT_R_UNKNOWN = 0;
/** The endpoint is not attached to a domain. */
export const FAULT_R_DOMAIN = 1;
/** The address is not mapped in the domain, or not for this access. */
export const FAULT_R_MAPPING = 2;

/** `flags`. */
export const FAULT_F_READ = 0x1;
export const FAULT_F_WRITE = 0x2;
/** `address` is valid. */
export const FAULT_F_ADDRESS = 0x100;

/** A fault as the driver reads it. */
export interface FaultReport {
  readonly reason: number;
  readonly flags: number;
  readonly endpoint: number;
  readonly address: bigint;
}

/** The bytes of `fault`, reserved fields zero. */
export function encodeFaultReport(fault: FaultReport): Uint8Array {
  const bytes = new Uint8Array(FAULT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, fault.reason);
  view.setUint32(4, fault.flags, true);
  view.setUint32(8, fault.endpoint, true);
  view.setBigUint64(16, fault.address, true);
  return bytes;
}

/** The fault in `bytes`; undefined when they are too few, or a reserved field says that it must be ignored. */
export function decodeFaultReport(bytes: Uint8Array): FaultReport | undefined {
  if (bytes.length < FAULT_BYTES || (bytes[1]! | bytes[2]! | bytes[3]!) !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    reason: view.getUint8(0),
    flags: view.getUint32(4, true),
    endpoint: view.getUint32(8, true),
    address: view.getBigUint64(16, true),
  };
}
