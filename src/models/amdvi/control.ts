import type { DeviceTable, Exclusion } from './amdvi-state.ts';
import type { CommandBuffer } from './command-buffer.ts';
import type { EventLog } from './event-log.ts';
import type { RegisterFile } from '../register-file.ts';
import * as spec from './spec/index.ts';

/** Bits of Control that start and stop something. */
const COMMANDS = spec.CONTROL_IommuEn | spec.CONTROL_CmdBufEn;
const EVENTS = spec.CONTROL_IommuEn | spec.CONTROL_EventLogEn;

/** What the registers say about translation, and what a change of Control starts and stops (AMD-Vi 3.4). */
export class Control {
  readonly #registers: RegisterFile;
  readonly #commands: CommandBuffer;
  readonly #events: EventLog;

  constructor(registers: RegisterFile, commands: CommandBuffer, events: EventLog) {
    this.#registers = registers;
    this.#commands = commands;
    this.#events = events;
  }

  /** IommuEn. */
  get enabled(): boolean {
    return (this.#registers.get(spec.CONTROL) & spec.CONTROL_IommuEn) !== 0;
  }

  get deviceTable(): DeviceTable {
    const low = this.#registers.get(spec.DEVICE_TABLE_BASE);
    const pages = (low & spec.DEVICE_TABLE_SIZE) + 1;
    return {
      page: spec.pageOf(low, this.#registers.get(spec.DEVICE_TABLE_BASE + 4)),
      entries: pages * spec.DEVICE_TABLE_ENTRIES_A_PAGE,
    };
  }

  /** Undefined while ExEn is clear or the limit lies below the base. */
  get exclusion(): Exclusion | undefined {
    const registers = this.#registers;
    const low = registers.get(spec.EXCLUSION_BASE);
    if ((low & spec.EXCLUSION_ExEn) === 0) return undefined;
    const start = spec.pageOf(low, registers.get(spec.EXCLUSION_BASE + 4));
    // The limit's page is part of the range.
    const end = spec.pageOf(registers.get(spec.EXCLUSION_LIMIT), registers.get(spec.EXCLUSION_LIMIT + 4)) + 1;
    if (start >= end) return undefined;
    return { range: { start, end }, everyDevice: (low & spec.EXCLUSION_Allow) !== 0 };
  }

  /** The registers came from outside, Status not among them: what is enabled runs. */
  resume(): void {
    this.changed(0);
  }

  /** Software changed Control from `before`: starts and stops the command buffer and the event log. */
  changed(before: number): void {
    const after = this.#registers.get(spec.CONTROL);
    if (all(after, EVENTS) !== all(before, EVENTS)) {
      if (all(after, EVENTS)) this.#events.start();
      else this.#events.stop();
    }
    if (all(after, COMMANDS) !== all(before, COMMANDS)) {
      if (all(after, COMMANDS)) this.#commands.enable();
      else this.#commands.disable();
    }
  }
}

function all(value: number, bits: number): boolean {
  return (value & bits) === bits;
}
