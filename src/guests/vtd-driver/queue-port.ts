/** The invalidation queue as a driver's queue (VT-d 6.5.2). @module */
import { spec } from '../../models/vtd/index.ts';
import type { QueuePort } from '../driver/queue.ts';
import type { RegisterAccess } from '../driver/registers.ts';
import { waitWithStatus } from './descriptors.ts';

/** The registers behind an invalidation queue. */
export class InvalidationQueuePort implements QueuePort {
  readonly statusWords = 1;
  readonly check = 'check that the unit has queued invalidation enabled and was not reset';
  readonly wait: QueuePort['wait'] = waitWithStatus;
  readonly #registers: RegisterAccess;

  constructor(registers: RegisterAccess) {
    this.#registers = registers;
  }

  head(): number {
    return Number(this.#registers.readRegister(spec.IQH_REG, 8));
  }

  ring(tail: number): void {
    this.#registers.writeRegister(spec.IQT_REG, BigInt(tail), 8);
  }

  refusal(): string | undefined {
    const status = Number(this.#registers.readRegister(spec.FSTS_REG, 4));
    if ((status & spec.FSTS_IQE) === 0) return undefined;
    const why = Number(this.#registers.readRegister(spec.IQERCD_REG, 8)) & spec.IQERCD_IQEI;
    return `the unit refused a descriptor (FSTS_REG.IQE, IQEI ${why})`;
  }

  /** Clears the error, so that the unit goes on at its head, as Linux does. */
  clearError(): void {
    this.#registers.writeRegister(spec.FSTS_REG, BigInt(spec.FSTS_IQE), 4);
  }
}
