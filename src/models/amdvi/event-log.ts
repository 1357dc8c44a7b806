import { type AddressSpace, PageCursor } from '../../memory/index.ts';
import type { RegisterFile } from '../register-file.ts';
import type { OwnInterrupt } from './own-interrupt.ts';
import { ringAt, ringOffset } from './ring.ts';
import * as spec from './spec/index.ts';

/**
 * What became of an event: `logged`; `overflow`, the log was full and EventOverflow was set for it; `stopped`, the log
 * does not run; `unwritable`, it does not lie in RAM.
 */
export type EventOutcome = 'logged' | 'overflow' | 'stopped' | 'unwritable';

/** The event log (AMD-Vi 2.5, 3.4): a ring in guest memory. */
export class EventLog {
  readonly #registers: RegisterFile;
  readonly #memory: AddressSpace;
  readonly #interrupt: OwnInterrupt;

  constructor(registers: RegisterFile, memory: AddressSpace, interrupt: OwnInterrupt) {
    this.#registers = registers;
    this.#memory = memory;
    this.#interrupt = interrupt;
  }

  /**
   * EventLogEn and IommuEn are both set now and were not before. After an overflow the log starts again only when
   * software has cleared EventOverflow (AMD-Vi 2.5.1).
   */
  start(): void {
    const overflown = (this.#registers.get(spec.STATUS) & spec.STATUS_EventOverflow) !== 0;
    if (overflown || ringAt(this.#registers, spec.EVENT_LOG_BASE) === undefined) return;
    this.#registers.raise(spec.STATUS, spec.STATUS_EventLogRun);
  }

  stop(): void {
    this.#registers.clear(spec.STATUS, spec.STATUS_EventLogRun);
  }

  /** Software wrote the base register: head and tail are zero again. */
  rebased(): void {
    this.#registers.set(spec.EVENT_LOG_HEAD, 0);
    this.#registers.set(spec.EVENT_LOG_TAIL, 0);
  }

  record(event: spec.EventEntry): EventOutcome {
    const registers = this.#registers;
    const ring = ringAt(registers, spec.EVENT_LOG_BASE);
    if (ring === undefined || (registers.get(spec.STATUS) & spec.STATUS_EventLogRun) === 0) return 'stopped';
    const tail = ringOffset(registers, spec.EVENT_LOG_TAIL, ring);
    const next = (tail + spec.EVENT_BYTES) % ring.bytes;
    if (next === ringOffset(registers, spec.EVENT_LOG_HEAD, ring)) {
      this.stop();
      this.#interrupt.raise(spec.STATUS_EventOverflow, spec.CONTROL_EventIntEn);
      return 'overflow';
    }
    const cursor = new PageCursor();
    if (!this.#memory.locate(ring.page + (tail >>> 12), cursor, true)) return 'unwritable';
    cursor.words.set(spec.encodeEvent(event), cursor.base + ((tail & 0xfff) >>> 2));
    registers.set(spec.EVENT_LOG_TAIL, next);
    if ((registers.get(spec.CONTROL) & spec.CONTROL_EventIntEn) !== 0) {
      this.#interrupt.raise(spec.STATUS_EventLogInt, spec.CONTROL_EventIntEn);
    }
    return 'logged';
  }
}
