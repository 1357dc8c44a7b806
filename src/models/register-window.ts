import type { DeviceHandler } from '../memory/index.ts';
import type { RegisterFile } from './register-file.ts';

/** Software's side of a register set: aligned accesses of 4 or 8 bytes; others are refused. */
export abstract class RegisterWindow implements DeviceHandler {
  protected readonly registers: RegisterFile;
  readonly #bytes: number;

  /** `bytes` is how much address space the registers take; what is not defined in it reads as zeros. */
  constructor(registers: RegisterFile, bytes: number) {
    this.registers = registers;
    this.#bytes = bytes;
  }

  /** Software wrote `words`, one or two, from byte `offset` on. */
  protected abstract written(offset: number, words: readonly number[]): void;

  read(offset: number, data: Uint8Array): boolean {
    if (!this.#takes(offset, data.length)) return false;
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    for (let at = 0; at < data.length; at += 4) view.setUint32(at, this.registers.read(offset + at), true);
    return true;
  }

  write(offset: number, data: Uint8Array): boolean {
    if (!this.#takes(offset, data.length)) return false;
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const low = view.getUint32(0, true);
    this.written(offset, data.length === 4 ? [low] : [low, view.getUint32(4, true)]);
    return true;
  }

  /** What software reads at byte `offset`. RangeError for an access that is refused. */
  readRegister(offset: number, bytes: 4 | 8): bigint {
    const view = new DataView(new ArrayBuffer(bytes));
    if (!this.read(offset, new Uint8Array(view.buffer))) throw refused(offset, bytes);
    return bytes === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true);
  }

  /** A write of `value`, cut to `bytes`, at byte `offset`. RangeError for an access that is refused. */
  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    const view = new DataView(new ArrayBuffer(bytes));
    if (bytes === 4) view.setUint32(0, Number(BigInt.asUintN(32, value)), true);
    else view.setBigUint64(0, BigInt.asUintN(64, value), true);
    if (!this.write(offset, new Uint8Array(view.buffer))) throw refused(offset, bytes);
  }

  #takes(offset: number, bytes: number): boolean {
    return (bytes === 4 || bytes === 8) && offset >= 0 && offset % bytes === 0 && offset < this.#bytes;
  }
}

function refused(offset: number, bytes: number): RangeError {
  return new RangeError(
    `${bytes} bytes at register offset ${offset}: access 4 or 8 aligned bytes of the register set`,
  );
}
