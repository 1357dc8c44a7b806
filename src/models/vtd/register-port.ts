import type { Sequencer } from '../../iommu/index.ts';
import type { FaultRecorder } from './fault-recorder.ts';
import type { FaultStatus } from './fault-status.ts';
import type { GlobalCommand } from './global-command.ts';
import type { InterruptMessage } from './interrupt-message.ts';
import type { InvalidationQueue } from './invalidation-queue.ts';
import type { ProtectedMemory } from './protected-memory.ts';
import type { RegisterFile } from '../register-file.ts';
import { RegisterWindow } from '../register-window.ts';
import type { ContextCommand, IotlbCommand } from './register-invalidation.ts';
import * as spec from './spec/index.ts';

/** Everything that a register write can set in motion. */
export interface RegisterPortParts {
  readonly registers: RegisterFile;
  readonly sequencer: Sequencer;
  readonly global: GlobalCommand;
  readonly context: ContextCommand;
  readonly iotlb: IotlbCommand;
  readonly protectedMemory: ProtectedMemory;
  readonly queue: InvalidationQueue;
  readonly status: FaultStatus;
  readonly recorder: FaultRecorder;
  readonly faultEvent: InterruptMessage;
  readonly invalidationEvent: InterruptMessage;
}

/**
 * Software's side of the registers (VT-d 11.2). A 64-bit access is one of the low half and then one of the high half, and
 * a register acts on the half that holds its command.
 */
export class RegisterPort extends RegisterWindow {
  readonly #parts: RegisterPortParts;

  constructor(parts: RegisterPortParts) {
    super(parts.registers, Math.ceil(parts.registers.bytes / 4096) * 4096);
    this.#parts = parts;
  }

  protected override written(offset: number, words: readonly number[]): void {
    for (const [i, word] of words.entries()) this.#writeWord(offset + i * 4, word);
  }

  #writeWord(offset: number, value: number): void {
    const { sequencer, global, context, iotlb, protectedMemory, queue, recorder } = this.#parts;
    // VT-d 11.4.6: software must not touch these while a command is under way, and what is under way must stay readable.
    if ((context.busy && context.owns(offset)) || (iotlb.busy && iotlb.owns(offset))) return;
    const { registers } = this;
    const before = registers.get(offset);
    registers.write(offset, value);
    const after = registers.get(offset);
    switch (offset) {
      case spec.GCMD_REG:
        global.written();
        sequencer.request(global);
        return;
      case spec.CCMD_REG + 4:
        if (context.busy) sequencer.request(context);
        return;
      case iotlb.control:
        if (iotlb.busy) sequencer.request(iotlb);
        return;
      case spec.PMEN_REG:
        sequencer.request(protectedMemory);
        return;
      case spec.IQT_REG:
        sequencer.request(queue);
        return;
      case spec.FSTS_REG:
        this.#parts.status.cleared();
        // The queue goes on from where it stopped (VT-d 6.5.2.10).
        if (((before ^ after) & (spec.FSTS_IQE | spec.FSTS_ITE)) !== 0) sequencer.request(queue);
        return;
      case spec.FECTL_REG:
        this.#parts.faultEvent.deliver();
        return;
      case spec.IECTL_REG:
        this.#parts.invalidationEvent.deliver();
        return;
      case spec.ICS_REG:
        if ((after & spec.ICS_IWC) === 0) this.#parts.invalidationEvent.serviced();
        return;
      default:
        if (recorder.holdsF(offset)) recorder.recordCleared();
    }
  }
}
