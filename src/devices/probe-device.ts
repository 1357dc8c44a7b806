import type { PciDevice } from '../vfio-user/index.ts';

/** Ids 1af4:10f0 to 10ff are Red Hat's for experiments; no driver of Linux takes them. */
const VENDOR_ID = 0x1af4;
const DEVICE_ID = 0x10f0;
/** Base class 0, subclass 0xff: a device of no class. */
const CLASS_OTHER = 0x00ff00;

const BAR_BYTES = 4096;

/**
 * A function that accepts everything and does nothing: it is there to be mapped for. BAR 0 is 4 KiB of zeros that
 * ignores writes; no interrupt is ever sent. It has MSI and not MSI-X, for QEMU 11.1.3 aborts when a vfio-user function
 * with MSI-X is unplugged. Each call makes one of its own.
 */
export function probeDevice(): PciDevice {
  return {
    name: 'probe',
    vendorId: VENDOR_ID,
    deviceId: DEVICE_ID,
    classCode: CLASS_OTHER,
    bars: [
      {
        size: BAR_BYTES,
        kind: 'memory32',
        read: (_offset, data) => void data.fill(0),
        write: () => {},
      },
    ],
    msi: { vectors: 1 },
  };
}
