import type { InterruptMessage } from './interrupt-message.ts';
import type { RegisterFile } from '../register-file.ts';
import { FSTS_ICE, FSTS_IQE, FSTS_ITE, FSTS_PFO, FSTS_PPF, FSTS_REG } from './spec/index.ts';

const CONDITIONS = FSTS_PFO | FSTS_PPF | FSTS_IQE | FSTS_ICE | FSTS_ITE;

/** FSTS_REG and the fault event that its conditions share (VT-d 7.3, 11.4.7.1). */
export class FaultStatus {
  readonly #registers: RegisterFile;
  readonly #event: InterruptMessage;

  constructor(registers: RegisterFile, event: InterruptMessage) {
    this.#registers = registers;
    this.#event = event;
  }

  /** Whether any of `conditions` (FSTS_REG bits) is set. */
  has(conditions: number): boolean {
    return (this.#registers.get(FSTS_REG) & conditions) !== 0;
  }

  /** A condition arose. It is a new interrupt condition only if none was set before (VT-d 11.4.7.2, IP). */
  raise(condition: number): void {
    const quiet = !this.has(CONDITIONS);
    this.#registers.raise(FSTS_REG, condition);
    if (quiet) this.#event.raise();
  }

  /** Software cleared conditions, here or in a Fault Recording register. */
  cleared(): void {
    if (!this.has(CONDITIONS)) this.#event.serviced();
  }
}
