import type { RegisterFile } from '../register-file.ts';
import type { SendInterrupt } from '../send-interrupt.ts';
import * as spec from './spec/index.ts';

/** A message-signalled interrupt: a DWORD `data` written to the byte address `address`. */
export interface InterruptMessage {
  readonly address: bigint;
  readonly data: number;
}

/**
 * The interrupt of the IOMMU itself, which event log and COMPLETION_WAIT share (AMD-Vi 3.3): sent when a bit of Status
 * becomes set while its bit of Control enables that.
 */
export class OwnInterrupt {
  /** What software programmed into the MSI capability of the IOMMU's PCI function; nothing is sent while undefined. */
  message: InterruptMessage | undefined;
  readonly #registers: RegisterFile;
  readonly #send: SendInterrupt | undefined;

  constructor(registers: RegisterFile, send: SendInterrupt | undefined) {
    this.#registers = registers;
    this.#send = send;
  }

  /** Sets `status` in Status and, unless it was set already, sends the interrupt if `enable` is set in Control. */
  raise(status: number, enable: number): void {
    const registers = this.#registers;
    const told = (registers.get(spec.STATUS) & status) === status;
    registers.raise(spec.STATUS, status);
    if (told || (registers.get(spec.CONTROL) & enable) === 0 || this.message === undefined) return;
    this.#send?.(this.message.address, this.message.data);
  }
}
