import { CAPABILITY_MSI, CAPABILITY_MSIX } from './config-layout.ts';
import type { MsixLayout, PciCapability, PciDevice } from './pci-device.ts';

/** The capabilities of a device in the order of the list: its own, then MSI, then MSI-X. */
export function capabilitiesOf(device: PciDevice): PciCapability[] {
  const capabilities = [...(device.capabilities ?? [])];
  if (device.msi !== undefined) capabilities.push(msiCapability(device.msi.vectors));
  if (device.msix !== undefined) capabilities.push(msixCapability(device.msix));
  return capabilities;
}

/** 64-bit addresses, no masks of its own. Source: PCI Local Bus 3.0, 6.8.1. */
function msiCapability(vectors: number): PciCapability {
  const bytes = new Uint8Array(12);
  const writable = new Uint8Array(12);
  // Message control: multiple message capable in bits 1-3, 64-bit in bit 7; enable and multiple message enable are written.
  bytes[0] = (Math.log2(vectors) << 1) | 0x80;
  writable[0] = 0x71;
  // Message address, whose low two bits are 0, its upper half, and message data.
  writable.fill(0xff, 2, 12);
  writable[2] = 0xfc;
  return { id: CAPABILITY_MSI, bytes, writable };
}

/** Source: PCI Local Bus 3.0, 6.8.2. */
function msixCapability({ vectors, bar, tableOffset, pbaOffset }: MsixLayout): PciCapability {
  const bytes = new Uint8Array(10);
  const writable = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  // Message control: table size less one in bits 0-10; function mask and enable are written.
  view.setUint16(0, vectors - 1, true);
  writable[1] = 0xc0;
  view.setUint32(2, tableOffset | bar, true);
  view.setUint32(6, pbaOffset | bar, true);
  return { id: CAPABILITY_MSIX, bytes, writable };
}
