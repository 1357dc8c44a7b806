/** Devices with one kind of entry, and what becomes of their DMA. @module */
import { dmaWrite } from '../../../src/memory/index.ts';
import { AmdviGuest, DEVICE, type DeviceTableFields } from './amdvi-guest.ts';

/** A running IOMMU with an entry for the device. */
export function world(fields: DeviceTableFields): AmdviGuest {
  const guest = new AmdviGuest();
  guest.entry(DEVICE, fields);
  guest.start();
  return guest;
}

/** How a device's write of the DWORD 7 ends: `done`, the code of the fault in hexadecimal, or another failure's kind. */
export function write(guest: AmdviGuest, address: bigint, requester: number = DEVICE): string {
  const result = dmaWrite(guest.iommu.addressSpace(requester), address, Uint8Array.of(7, 0, 0, 0));
  if (result.failure === undefined) return 'done';
  const { failure } = result;
  return failure.kind === 'translation' ? failure.fault.code.toString(16) : failure.kind;
}
