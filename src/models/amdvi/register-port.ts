import type { Sequencer, Work } from '../../iommu/index.ts';
import type { DeviceHandler } from '../../memory/index.ts';
import { accessible, type RegisterFile } from '../register-file.ts';
import type { CommandBuffer } from './command-buffer.ts';
import type { Control } from './control.ts';
import type { EventLog } from './event-log.ts';
import * as spec from './spec/index.ts';

/** Everything that a register write can set in motion. */
export interface RegisterPortParts {
  readonly registers: RegisterFile;
  readonly sequencer: Sequencer;
  readonly control: Control;
  readonly commands: CommandBuffer;
  readonly events: EventLog;
  /** Looks at every device table entry anew. */
  readonly renewal: Work;
}

/** Software's side of the MMIO registers: aligned accesses of 4 or 8 bytes (AMD-Vi 3.4); others are refused. */
export class RegisterPort implements DeviceHandler {
  readonly #parts: RegisterPortParts;

  constructor(parts: RegisterPortParts) {
    this.#parts = parts;
  }

  read(offset: number, data: Uint8Array): boolean {
    if (!accessible(offset, data.length)) return false;
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    for (let at = 0; at < data.length; at += 4)
      view.setUint32(at, this.#parts.registers.read(offset + at), true);
    return true;
  }

  write(offset: number, data: Uint8Array): boolean {
    if (!accessible(offset, data.length)) return false;
    const { registers } = this.#parts;
    const register = offset & ~7;
    const before = registers.get(register);
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    for (let at = 0; at < data.length; at += 4) registers.write(offset + at, view.getUint32(at, true));
    this.#act(register, before);
    return true;
  }

  /** Software wrote the register at `register`, or half of it; its low word was `before`. */
  #act(register: number, before: number): void {
    const { registers, sequencer, control, commands, events, renewal } = this.#parts;
    switch (register) {
      case spec.CONTROL:
        control.changed(before);
        if (((before ^ registers.get(spec.CONTROL)) & spec.CONTROL_IommuEn) !== 0) sequencer.request(renewal);
        sequencer.request(commands);
        return;
      case spec.DEVICE_TABLE_BASE:
      case spec.EXCLUSION_BASE:
      case spec.EXCLUSION_LIMIT:
        sequencer.request(renewal);
        return;
      case spec.COMMAND_BUFFER_BASE:
        commands.rebased();
        return;
      case spec.EVENT_LOG_BASE:
        events.rebased();
        return;
      case spec.COMMAND_BUFFER_TAIL:
        sequencer.request(commands);
        return;
      default:
        return;
    }
  }
}
