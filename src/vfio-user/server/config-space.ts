import { capabilitiesOf } from './capabilities-list.ts';
import {
  BAR0,
  BAR_64,
  BAR_IO,
  BAR_PREFETCHABLE,
  CACHE_LINE_SIZE,
  CAPABILITIES_POINTER,
  CAPABILITY_EXPRESS,
  CLASS_CODE,
  COMMAND,
  COMMAND_BUS_MASTER,
  COMMAND_INTX_DISABLE,
  COMMAND_IO,
  COMMAND_MEMORY,
  COMMAND_PARITY,
  COMMAND_SERR,
  CONFIG_BYTES,
  DEVICE_ID,
  EXPRESS_CONFIG_BYTES,
  HEADER_END,
  INTERRUPT_LINE,
  INTERRUPT_PIN,
  REVISION_ID,
  STATUS,
  STATUS_CAPABILITIES,
  STATUS_ERRORS,
  STATUS_INTERRUPT,
  SUBSYSTEM_ID,
  SUBSYSTEM_VENDOR_ID,
  VENDOR_ID,
} from './config-layout.ts';
import type { Bar, PciCapability, PciDevice } from './pci-device.ts';

/** What configuration space has to know of, and tell, its device. */
export interface ConfigSpaceWires {
  /** Whether the device asserts INTA: bit 3 of the status register. */
  isIntxAsserted(): boolean;
  /** Bit 10 of the command register changed. */
  intxDisableChanged(): void;
}

/**
 * A type 0 configuration space: bytes, and for each the bits that a client may write. BARs answer to sizing as on
 * hardware, because the bits below their size cannot be written.
 */
export class ConfigSpace {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #writable: Uint8Array;
  readonly #writableView: DataView;
  readonly #atPowerOn: Uint8Array;
  readonly #wires: ConfigSpaceWires;

  /** The device has been checked. RangeError when its capabilities do not fit. */
  constructor(device: PciDevice, wires: ConfigSpaceWires) {
    const capabilities = capabilitiesOf(device);
    const isExpress = capabilities.some(({ id }) => id === CAPABILITY_EXPRESS);
    const size = isExpress ? EXPRESS_CONFIG_BYTES : CONFIG_BYTES;
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
    this.#writable = new Uint8Array(size);
    this.#writableView = new DataView(this.#writable.buffer);
    this.#wires = wires;
    this.#writeHeader(device);
    device.bars?.forEach((bar, number) => {
      if (bar !== undefined) this.#writeBar(number, bar);
    });
    this.#writeCapabilities(device.name, capabilities);
    this.#atPowerOn = this.#bytes.slice();
  }

  /** Bytes: 256, or 4,096 with PCI Express. */
  get size(): number {
    return this.#bytes.length;
  }

  /** Whether bit 10 of the command register keeps INTA quiet. */
  get intxDisabled(): boolean {
    return (this.#view.getUint16(COMMAND, true) & COMMAND_INTX_DISABLE) !== 0;
  }

  /** Fills `data` from `offset`; the caller has checked that it is inside. */
  read(offset: number, data: Uint8Array): void {
    const status = this.#view.getUint16(STATUS, true) & ~STATUS_INTERRUPT;
    this.#view.setUint16(STATUS, this.#wires.isIntxAsserted() ? status | STATUS_INTERRUPT : status, true);
    data.set(this.#bytes.subarray(offset, offset + data.length));
  }

  /** Takes `data` at `offset`; the caller has checked that it is inside. */
  write(offset: number, data: Uint8Array): void {
    const before = this.intxDisabled;
    for (let i = 0; i < data.length; i++) {
      const at = offset + i;
      const writable = this.#writable[at]!;
      let byte = (this.#bytes[at]! & ~writable) | (data[i]! & writable);
      if (at === STATUS + 1) byte &= ~(data[i]! & (STATUS_ERRORS >> 8));
      this.#bytes[at] = byte;
    }
    if (this.intxDisabled !== before) this.#wires.intxDisableChanged();
  }

  /** Everything as after power-on. */
  reset(): void {
    const before = this.intxDisabled;
    this.#bytes.set(this.#atPowerOn);
    if (before) this.#wires.intxDisableChanged();
  }

  #writeHeader(device: PciDevice): void {
    const view = this.#view;
    view.setUint16(VENDOR_ID, device.vendorId, true);
    view.setUint16(DEVICE_ID, device.deviceId, true);
    view.setUint8(REVISION_ID, device.revision ?? 0);
    view.setUint8(CLASS_CODE, device.classCode & 0xff);
    view.setUint16(CLASS_CODE + 1, device.classCode >>> 8, true);
    view.setUint16(SUBSYSTEM_VENDOR_ID, device.subsystemVendorId ?? 0, true);
    view.setUint16(SUBSYSTEM_ID, device.subsystemId ?? 0, true);
    view.setUint8(INTERRUPT_PIN, device.intx === true ? 1 : 0);
    const kinds = new Set(device.bars?.map((bar) => bar?.kind));
    let command = COMMAND_BUS_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_DISABLE;
    if (kinds.has('io')) command |= COMMAND_IO;
    if (kinds.has('memory32') || kinds.has('memory64')) command |= COMMAND_MEMORY;
    this.#writableView.setUint16(COMMAND, command, true);
    this.#writable[CACHE_LINE_SIZE] = 0xff;
    this.#writable[INTERRUPT_LINE] = 0xff;
  }

  #writeBar(number: number, bar: Bar): void {
    const at = BAR0 + number * 4;
    const mask = ~BigInt(bar.size - 1);
    if (bar.kind === 'io') {
      this.#view.setUint32(at, BAR_IO, true);
      this.#writableView.setUint32(at, Number(mask & 0xffff_fffcn), true);
      return;
    }
    const is64 = bar.kind === 'memory64';
    const low = (is64 ? BAR_64 : 0) | (bar.prefetchable === true ? BAR_PREFETCHABLE : 0);
    this.#view.setUint32(at, low, true);
    this.#writableView.setUint32(at, Number(mask & 0xffff_fff0n), true);
    if (is64) this.#writableView.setUint32(at + 4, Number((mask >> 32n) & 0xffff_ffffn), true);
  }

  #writeCapabilities(device: string, capabilities: readonly PciCapability[]): void {
    let pointer = CAPABILITIES_POINTER;
    let at = HEADER_END;
    for (const { id, bytes, writable } of capabilities) {
      if (at + 2 + bytes.length > CONFIG_BYTES) {
        throw new RangeError(
          `${device}: capability 0x${id.toString(16)} ends beyond the first 256 bytes of configuration space: leave others out`,
        );
      }
      this.#bytes[pointer] = at;
      this.#bytes[at] = id;
      this.#bytes.set(bytes, at + 2);
      if (writable !== undefined) this.#writable.set(writable.subarray(0, bytes.length), at + 2);
      pointer = at + 1;
      // Capabilities lie at multiples of 4.
      at = (at + 2 + bytes.length + 3) & ~3;
      this.#view.setUint16(STATUS, STATUS_CAPABILITIES, true);
    }
  }
}
