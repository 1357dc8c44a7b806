/** Register-based invalidation: CCMD_REG (VT-d 11.4.6.1) and IOTLB_REG with IVA_REG (VT-d 11.4.6.2, 11.4.6.3). @module */
import { InvalidationBatch, type RequesterSpaces, type Work } from '../../iommu/index.ts';
import { addContextCache, addIotlb } from './invalidation-commands.ts';
import type { RegisterFile } from '../register-file.ts';
import type { RemappingState } from './remapping-state.ts';
import type { RequesterSpace } from './requester-space.ts';
import * as spec from './spec/index.ts';

/** What the two commands work with. */
export interface CommandParts {
  readonly state: RemappingState;
  readonly registers: RegisterFile;
  readonly spaces: RequesterSpaces<RequesterSpace>;
}

/**
 * A request that is not valid is ignored and answered with a granularity of 00, and so is one made while the queue is
 * enabled or outside legacy mode.
 */
function usable({ state, registers }: CommandParts): boolean {
  const queued = (registers.get(spec.GSTS_REG) & spec.GSTS_QIES) !== 0;
  return !queued && state.translationTableMode === spec.TTM_LEGACY;
}

/** CCMD_REG: ICC stays set, and CAIG is not valid, until the hosts have confirmed. */
export class ContextCommand implements Work {
  readonly #parts: CommandParts;
  #done: number = spec.GRANULARITY_NONE;

  constructor(parts: CommandParts) {
    this.#parts = parts;
  }

  /** Whether a command is under way; software must leave the register alone then. */
  get busy(): boolean {
    return (this.#parts.registers.get(spec.CCMD_REG + 4) & spec.CCMD_ICC_HI) !== 0;
  }

  /** Whether the word at `offset` is part of the command. */
  owns(offset: number): boolean {
    return offset === spec.CCMD_REG || offset === spec.CCMD_REG + 4;
  }

  start(): void | Promise<void> {
    const { registers, spaces } = this.#parts;
    const low = registers.get(spec.CCMD_REG);
    const high = registers.get(spec.CCMD_REG + 4);
    const asked = (high & spec.CCMD_CIRG_HI) >>> spec.CCMD_CIRG_SHIFT_HI;
    this.#done = usable(this.#parts) ? asked : spec.GRANULARITY_NONE;
    if (this.#done === spec.GRANULARITY_NONE) return;
    const batch = new InvalidationBatch();
    const domain = low & spec.CCMD_DID;
    addContextCache(batch, asked, domain, low >>> spec.CCMD_SID_SHIFT, high & spec.CCMD_FM_HI);
    return spaces.apply(batch);
  }

  complete(): void {
    const { registers } = this.#parts;
    registers.clear(spec.CCMD_REG + 4, spec.CCMD_ICC_HI | spec.CCMD_CAIG_HI);
    registers.raise(spec.CCMD_REG + 4, this.#done << spec.CCMD_CAIG_SHIFT_HI);
  }
}

/** IOTLB_REG: IVT stays set, and IAIG is not valid, until the hosts have confirmed. */
export class IotlbCommand implements Work {
  readonly #parts: CommandParts;
  readonly #base: number;
  #done: number = spec.GRANULARITY_NONE;

  constructor(parts: CommandParts) {
    this.#parts = parts;
    this.#base = parts.state.capability.IRO * 16;
  }

  /** Offset of the word of IOTLB_REG that holds IVT. */
  get control(): number {
    return this.#base + spec.IOTLB_REG + 4;
  }

  /** Whether a command is under way; software must leave the registers alone then. */
  get busy(): boolean {
    return (this.#parts.registers.get(this.control) & spec.IOTLB_IVT_HI) !== 0;
  }

  /** Whether the word at `offset` is part of the command, IVA_REG included. */
  owns(offset: number): boolean {
    return offset >= this.#base && offset < this.#base + 16;
  }

  start(): void | Promise<void> {
    const { registers, spaces } = this.#parts;
    const command = registers.get(this.control);
    const low = registers.get(this.#base + spec.IVA_REG);
    const high = registers.get(this.#base + spec.IVA_REG + 4);
    const asked = (command & spec.IOTLB_IIRG_HI) >>> spec.IOTLB_IIRG_SHIFT_HI;
    const am = low & spec.IVA_AM;
    this.#done = usable(this.#parts) && this.#allowed(asked, am) ? asked : spec.GRANULARITY_NONE;
    if (this.#done === spec.GRANULARITY_NONE) return;
    const batch = new InvalidationBatch();
    addIotlb(batch, asked, command & spec.IOTLB_DID_HI, spec.pageOf(low, high), am);
    return spaces.apply(batch);
  }

  complete(): void {
    const { registers } = this.#parts;
    registers.clear(this.control, spec.IOTLB_IVT_HI | spec.IOTLB_IAIG_HI);
    registers.raise(this.control, this.#done << spec.IOTLB_IAIG_SHIFT_HI);
  }

  #allowed(asked: number, am: number): boolean {
    const { PSI, MAMV } = this.#parts.state.capability;
    return asked !== spec.IOTLB_PAGE || (PSI && am <= MAMV);
  }
}
