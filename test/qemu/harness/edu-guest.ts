/** What a guest's driver of the edu device does, by qtest. @module */
import { EDU_BUFFER_START, EduDma, EduRegister } from '../../../src/devices/index.ts';
import { CAPABILITY_MSI } from '../../../src/qemu/index.ts';
import { BAR_PLACES, type QemuMachine, SLOTS } from './qemu-machine.ts';

/** Reads of a register before a transfer counts as stuck. */
const PATIENCE = 10_000;

/** Offsets in an MSI capability with 64-bit addresses (PCI 3.0, 6.8.1). */
const MSI_CONTROL = 2;
const MSI_ADDRESS = 4;
const MSI_DATA_64 = 12;
const MSI_ENABLE = 1;

/** A plugged edu device, enabled. */
export class EduGuest {
  readonly #machine: QemuMachine;
  readonly #slot: keyof typeof SLOTS;

  private constructor(machine: QemuMachine, slot: keyof typeof SLOTS) {
    this.#machine = machine;
    this.#slot = slot;
  }

  /** Places BAR 0 of the device in `slot` and lets it do DMA. */
  static async enable(machine: QemuMachine, slot: keyof typeof SLOTS = 'express'): Promise<EduGuest> {
    await machine.pci.enable(SLOTS[slot].fn, BAR_PLACES[slot].start);
    return new EduGuest(machine, slot);
  }

  read(register: number): Promise<bigint> {
    return this.#machine.qemu.qtest.read(this.#at(register), register < 0x80 ? 4 : 8);
  }

  write(register: number, value: bigint): Promise<void> {
    return this.#machine.qemu.qtest.write(this.#at(register), value, register < 0x80 ? 4 : 8);
  }

  /** Copies from the buffer of the device to guest memory. Gives the errno with which it ended, 0 for none. */
  toMemory(iova: bigint, bytes: number): Promise<number> {
    return this.#transfer(EDU_BUFFER_START, iova, bytes, EduDma.ToMemory);
  }

  /** Copies from guest memory to the buffer of the device. Gives the errno with which it ended, 0 for none. */
  fromMemory(iova: bigint, bytes: number): Promise<number> {
    return this.#transfer(iova, EDU_BUFFER_START, bytes, 0);
  }

  /** Lets the device signal by writing `data` (16 bits) to `address`. */
  async enableMsi(address: number, data: number): Promise<void> {
    const { pci } = this.#machine;
    const { fn } = SLOTS[this.#slot];
    const at = await pci.capability(fn, CAPABILITY_MSI);
    await pci.write(fn, at + MSI_ADDRESS, address);
    await pci.write(fn, at + MSI_ADDRESS + 4, 0);
    await pci.write(fn, at + MSI_DATA_64, data, 2);
    await pci.write(fn, at + MSI_CONTROL, MSI_ENABLE, 2);
  }

  async #transfer(source: bigint, destination: bigint, bytes: number, direction: number): Promise<number> {
    await this.write(EduRegister.DmaSource, source);
    await this.write(EduRegister.DmaDestination, destination);
    await this.write(EduRegister.DmaCount, BigInt(bytes));
    await this.write(EduRegister.DmaCommand, BigInt(EduDma.Start | direction));
    for (let i = 0; i < PATIENCE; i++) {
      // eslint-disable-next-line no-await-in-loop -- a guest that polls
      const command = await this.read(EduRegister.DmaCommand);
      if ((command & BigInt(EduDma.Start)) === 0n) return Number(await this.read(EduRegister.DmaError));
    }
    throw new Error('the transfer does not end');
  }

  #at(register: number): bigint {
    return BigInt(BAR_PLACES[this.#slot].start + register);
  }
}
