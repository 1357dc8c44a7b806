import type { Observer } from '../memory/index.ts';
import type { DeviceContext, HandledBar, PciDevice } from '../vfio-user/index.ts';
import { EduDmaEngine } from './edu-dma.ts';
import { EDU_IDENTIFICATION, EduInterrupt, EduRegister, EduStatus } from './edu-registers.ts';

/** What is told to whoever watches an {@link eduDevice}. */
export interface EduOptions {
  /** Hears of each transfer that failed, as `edu-dma-failed`. */
  readonly observer?: Observer;
}

/**
 * A teaching device like QEMU's `edu`, with the same ids, registers and buffer ({@link EduRegister}): it computes
 * factorials, raises interrupts by INTx or MSI, and copies between guest memory and a buffer of its own. Each call
 * makes one of its own.
 *
 * It differs from QEMU's in this: DMA addresses have all 64 bits, where QEMU keeps 28 unless told otherwise; the upper
 * half of an 8-byte register can be accessed alone; a transfer that leaves the buffer does nothing, and how one ended
 * can be read ({@link EduRegister.DmaError}); a device reset clears everything.
 */
export function eduDevice(options: EduOptions = {}): PciDevice {
  return new EduDevice(options);
}

const BAR_BYTES: number = 2 ** 20;
const FIRST_WIDE_REGISTER = 0x80;

/** 34! is a multiple of 2^32, and so is every larger one. */
const FACTORIALS_END = 34;

class EduDevice implements PciDevice {
  readonly name = 'edu';
  readonly vendorId = 0x1234;
  readonly deviceId = 0x11e8;
  readonly revision = 0x10;
  /** Base class 0, subclass 0xff: a device of no class. */
  readonly classCode = 0x00ff00;
  readonly intx = true;
  readonly msi = { vectors: 1 } as const;
  readonly bars: readonly HandledBar[];
  readonly #dma: EduDmaEngine;
  #context: DeviceContext | undefined;
  #liveness = 0;
  #factorial = 0;
  #status = 0;
  #interruptStatus = 0;
  /** Counts resets: a factorial that was begun before one is not stored after it. */
  #resets = 0;

  constructor({ observer }: EduOptions) {
    this.#dma = new EduDmaEngine({ observer, finished: () => this.#raise(EduInterrupt.Dma) });
    this.bars = [
      {
        size: BAR_BYTES,
        kind: 'memory32',
        read: (offset, data) => this.#read(offset, data),
        write: (offset, data) => this.#write(offset, data),
      },
    ];
  }

  start(context: DeviceContext): void {
    this.#context = context;
    this.#dma.start(context.memory);
  }

  reset(): void {
    this.#resets++;
    this.#liveness = 0;
    this.#factorial = 0;
    this.#status = 0;
    this.#dma.reset();
    this.#acknowledge(~0);
  }

  /** Accesses of other sizes, or to other places, read as all ones. */
  #read(offset: number, data: Uint8Array): void {
    data.fill(0xff);
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (offset < FIRST_WIDE_REGISTER) {
      const value = data.length === 4 ? this.#register(offset) : undefined;
      if (value !== undefined) view.setUint32(0, value, true);
      return;
    }
    if (data.length !== 4 && data.length !== 8) return;
    const value = this.#dma.register(offset & ~7);
    if (value === undefined) return;
    if (data.length === 8 && offset % 8 === 0) view.setBigUint64(0, value, true);
    else if (data.length === 4 && offset % 4 === 0) {
      view.setUint32(0, Number((value >> BigInt((offset & 4) * 8)) & 0xffff_ffffn), true);
    }
  }

  /** Accesses of other sizes, or to other places, do nothing. */
  #write(offset: number, data: Uint8Array): void {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (offset < FIRST_WIDE_REGISTER) {
      if (data.length === 4) this.#setRegister(offset, view.getUint32(0, true));
    } else if (data.length === 8 && offset % 8 === 0) {
      this.#dma.setRegister(offset, view.getBigUint64(0, true));
    } else if (data.length === 4 && offset % 8 === 0) {
      // As in QEMU's device, four bytes are the whole value: a driver for 32 bits need not clear the rest.
      this.#dma.setRegister(offset, BigInt(view.getUint32(0, true)));
    } else if (data.length === 4 && offset % 4 === 0) {
      const register = offset & ~7;
      const low = (this.#dma.register(register) ?? 0n) & 0xffff_ffffn;
      this.#dma.setRegister(register, (BigInt(view.getUint32(0, true)) << 32n) | low);
    }
  }

  #register(offset: number): number | undefined {
    switch (offset) {
      case EduRegister.Identification:
        return EDU_IDENTIFICATION;
      case EduRegister.Liveness:
        return this.#liveness;
      case EduRegister.Factorial:
        return this.#factorial;
      case EduRegister.Status:
        return this.#status;
      case EduRegister.InterruptStatus:
        return this.#interruptStatus;
      default:
        return undefined;
    }
  }

  #setRegister(offset: number, value: number): void {
    switch (offset) {
      case EduRegister.Liveness:
        this.#liveness = ~value >>> 0;
        break;
      case EduRegister.Factorial:
        if ((this.#status & EduStatus.Computing) === 0) void this.#computeFactorial(value);
        break;
      case EduRegister.Status:
        this.#status = (this.#status & EduStatus.Computing) | (value & EduStatus.InterruptWhenDone);
        break;
      case EduRegister.InterruptRaise:
        this.#raise(value);
        break;
      case EduRegister.InterruptAcknowledge:
        this.#acknowledge(value);
        break;
      default:
    }
  }

  /** Done in a later turn, so that a driver has to wait for the status as the manual tells it to. */
  async #computeFactorial(number: number): Promise<void> {
    const resets = this.#resets;
    this.#factorial = number;
    this.#status |= EduStatus.Computing;
    await Promise.resolve();
    if (resets !== this.#resets) return;
    this.#factorial = factorial(number);
    this.#status &= ~EduStatus.Computing;
    if ((this.#status & EduStatus.InterruptWhenDone) !== 0) this.#raise(EduInterrupt.Factorial);
  }

  #raise(bits: number): void {
    this.#interruptStatus = (this.#interruptStatus | bits) >>> 0;
    if (this.#interruptStatus !== 0) this.#context?.interrupts.trigger(0);
  }

  #acknowledge(bits: number): void {
    this.#interruptStatus = (this.#interruptStatus & ~bits) >>> 0;
    if (this.#interruptStatus === 0) this.#context?.interrupts.lower();
  }
}

/** Modulo 2^32. */
function factorial(number: number): number {
  if (number >= FACTORIALS_END) return 0;
  let product = 1;
  for (let factor = 2; factor <= number; factor++) product = Math.imul(product, factor);
  return product >>> 0;
}
