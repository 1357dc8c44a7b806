import type { RegisterFile } from '../register-file.ts';
import type { SendInterrupt } from '../send-interrupt.ts';
import { EVENT_IM, EVENT_IP } from './spec/index.ts';

/**
 * One of the unit's own interrupts, fault event or invalidation event: four registers in a row, which are control,
 * data, address and upper address (VT-d 11.4.7.2 to 11.4.7.5, 11.4.9.5 to 11.4.9.8).
 */
export class InterruptMessage {
  readonly #registers: RegisterFile;
  readonly #control: number;
  readonly #send: SendInterrupt | undefined;

  /** `control` is the offset of FECTL_REG or IECTL_REG. */
  constructor(registers: RegisterFile, control: number, send: SendInterrupt | undefined) {
    this.#registers = registers;
    this.#control = control;
    this.#send = send;
  }

  /** An interrupt condition arose: the message is sent, or held pending while IM is set. */
  raise(): void {
    this.#registers.raise(this.#control, EVENT_IP);
    this.deliver();
  }

  /** Software may have cleared IM: a message that was held pending is sent. */
  deliver(): void {
    const control = this.#registers.get(this.#control);
    if ((control & EVENT_IP) === 0 || (control & EVENT_IM) !== 0) return;
    // IP first: the handler of the message may read the registers at once.
    this.#registers.clear(this.#control, EVENT_IP);
    const low = this.#registers.get(this.#control + 8);
    const high = this.#registers.get(this.#control + 12);
    this.#send?.((BigInt(high) << 32n) | BigInt(low), this.#registers.get(this.#control + 4));
  }

  /** Software has serviced every condition: a message held pending is dropped. */
  serviced(): void {
    this.#registers.clear(this.#control, EVENT_IP);
  }
}
