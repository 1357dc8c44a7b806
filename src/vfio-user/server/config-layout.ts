/** Registers of a type 0 configuration space header. Source: PCI Local Bus 3.0, 6.1 and 6.2. @module */

export const VENDOR_ID = 0x00;
export const DEVICE_ID = 0x02;
export const COMMAND = 0x04;
export const STATUS = 0x06;
export const REVISION_ID = 0x08;
export const CLASS_CODE = 0x09;
export const CACHE_LINE_SIZE = 0x0c;
export const BAR0 = 0x10;
export const SUBSYSTEM_VENDOR_ID = 0x2c;
export const SUBSYSTEM_ID = 0x2e;
export const CAPABILITIES_POINTER = 0x34;
export const INTERRUPT_LINE = 0x3c;
export const INTERRUPT_PIN = 0x3d;
/** Where the header ends and capabilities may begin. */
export const HEADER_END = 0x40;

/** Bits of {@link COMMAND}. */
export const COMMAND_IO = 0x1;
export const COMMAND_MEMORY = 0x2;
export const COMMAND_BUS_MASTER = 0x4;
export const COMMAND_PARITY = 0x40;
export const COMMAND_SERR = 0x100;
export const COMMAND_INTX_DISABLE = 0x400;

/** Bits of {@link STATUS}. */
export const STATUS_INTERRUPT = 0x8;
export const STATUS_CAPABILITIES = 0x10;
/** Errors, cleared by writing ones. */
export const STATUS_ERRORS = 0xf900;

/** Low bits of a BAR: PCI Local Bus 3.0, 6.2.5.1. */
export const BAR_IO = 1;
export const BAR_64 = 4;
export const BAR_PREFETCHABLE = 8;

/** Numbers of capabilities. */
export const CAPABILITY_MSI = 0x05;
export const CAPABILITY_EXPRESS = 0x10;
export const CAPABILITY_MSIX = 0x11;

/** Bytes of configuration space without and with PCI Express. */
export const CONFIG_BYTES = 256;
export const EXPRESS_CONFIG_BYTES = 4096;

/** Base address registers of a type 0 header. */
export const BARS = 6;
