import type { Sequencer } from '../../iommu/index.ts';
import { type DeviceHandler } from '../../memory/index.ts';
import type { FaultRecorder } from './fault-recorder.ts';
import type { FaultStatus } from './fault-status.ts';
import type { GlobalCommand } from './global-command.ts';
import type { InterruptMessage } from './interrupt-message.ts';
import type { InvalidationQueue } from './invalidation-queue.ts';
import type { ProtectedMemory } from './protected-memory.ts';
import { accessible, type RegisterFile } from '../register-file.ts';
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
 * Software's side of the registers: aligned accesses of 4 or 8 bytes (VT-d 11.2); others are refused. A 64-bit access
 * is one of the low half and then one of the high half, and a register acts on the half that holds its command.
 */
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
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    for (let at = 0; at < data.length; at += 4) this.#writeWord(offset + at, view.getUint32(at, true));
    return true;
  }

  #writeWord(offset: number, value: number): void {
    const { registers, sequencer, global, context, iotlb, protectedMemory, queue, recorder } = this.#parts;
    // VT-d 11.4.6: software must not touch these while a command is under way, and what is under way must stay readable.
    if ((context.busy && context.owns(offset)) || (iotlb.busy && iotlb.owns(offset))) return;
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
