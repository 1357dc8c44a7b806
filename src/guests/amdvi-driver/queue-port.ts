/** The command buffer as a driver's queue (AMD-Vi 2.4). @module */
import { spec } from '../../models/amdvi/index.ts';
import type { QueuePort } from '../driver/queue.ts';
import type { RegisterAccess } from '../driver/registers.ts';
import { completionWait } from './commands.ts';

/** The registers behind a command buffer. */
export class CommandBufferPort implements QueuePort {
  readonly statusWords = 2;
  readonly check = 'check that the unit is enabled and was not reset';
  readonly wait: QueuePort['wait'] = completionWait;
  readonly #registers: RegisterAccess;

  constructor(registers: RegisterAccess) {
    this.#registers = registers;
  }

  head(): number {
    return Number(this.#registers.readRegister(spec.COMMAND_BUFFER_HEAD, 8)) & spec.RING_OFFSET;
  }

  ring(tail: number): void {
    this.#registers.writeRegister(spec.COMMAND_BUFFER_TAIL, BigInt(tail), 8);
  }

  refusal(): string | undefined {
    const status = Number(this.#registers.readRegister(spec.STATUS, 8) & 0xffffffffn);
    if ((status & spec.STATUS_CmdBufRun) !== 0) return undefined;
    return 'the unit does not fetch commands (Status.CmdBufRun is clear): it refused one, or is not enabled';
  }
}
