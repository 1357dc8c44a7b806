import type { Sequencer, Work } from '../../iommu/index.ts';
import type { RegisterFile } from '../register-file.ts';
import { RegisterWindow } from '../register-window.ts';
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

/** Software's side of the MMIO registers (AMD-Vi 3.4). */
export class RegisterPort extends RegisterWindow {
  readonly #parts: RegisterPortParts;

  constructor(parts: RegisterPortParts) {
    super(parts.registers, spec.MMIO_BYTES);
    this.#parts = parts;
  }

  protected override written(offset: number, words: readonly number[]): void {
    const register = offset & ~7;
    const before = this.registers.get(register);
    for (const [i, word] of words.entries()) this.registers.write(offset + i * 4, word);
    this.#act(register, before);
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
