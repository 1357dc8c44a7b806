import { InvalidationBatch, type RequesterSpaces, type Work } from '../../iommu/index.ts';
import type { FaultRecorder } from './fault-recorder.ts';
import type { InvalidationQueue } from './invalidation-queue.ts';
import type { RegisterFile } from '../register-file.ts';
import type { RequesterSpace } from './requester-space.ts';
import * as spec from './spec/index.ts';

/** What GCMD_REG works with. */
export interface GlobalCommandParts {
  readonly capability: spec.Capability;
  readonly registers: RegisterFile;
  readonly spaces: RequesterSpaces<RequesterSpace>;
  readonly queue: InvalidationQueue;
  readonly recorder: FaultRecorder;
  /** Does the queue's work, after this. */
  requestQueue(): void;
}

/** Bits of GSTS_REG that follow the written value; the others acknowledge a command. */
const STATE = spec.GCMD_STATE;

/**
 * GCMD_REG and what it controls, acknowledged in GSTS_REG (VT-d 11.4.4). Software changes one field at a time and waits
 * for its status. A write that does not wait is taken up when the one before is done; of several such writes the last
 * says which states are wanted, and every one-shot command among them is done once.
 */
export class GlobalCommand implements Work {
  readonly #parts: GlobalCommandParts;
  readonly #offered: number;
  /** TES as the translation paths see it; GSTS_REG follows when the hosts have confirmed. */
  #translating = false;
  #rootLow = 0;
  #rootHigh = 0;
  /** Waiting: the states wanted last, the one-shot commands, and RTADDR_REG as it was when SRTP was written. */
  #wanted = 0;
  #oneShot = 0;
  #nextRootLow = 0;
  #nextRootHigh = 0;
  /** Under way: the status that is shown when it is done. */
  #status = 0;

  constructor(parts: GlobalCommandParts) {
    this.#parts = parts;
    this.#offered = offered(parts.capability);
  }

  get translating(): boolean {
    return this.#translating;
  }

  /** Page of the root table that SRTP latched. */
  get rootTable(): number {
    return spec.pageOf(this.#rootLow, this.#rootHigh);
  }

  /** RTADDR_REG.TTM that SRTP latched. */
  get translationTableMode(): number {
    return (this.#rootLow & spec.RTADDR_TTM) >>> spec.RTADDR_TTM_SHIFT;
  }

  /** Software wrote GCMD_REG: {@link start} is due. */
  written(): void {
    const { registers } = this.#parts;
    const value = registers.get(spec.GCMD_REG) & this.#offered;
    this.#wanted = value & STATE;
    this.#oneShot |= value & spec.GCMD_ONE_SHOT;
    if ((value & spec.GCMD_SRTP) !== 0) {
      this.#nextRootLow = registers.get(spec.RTADDR_REG);
      this.#nextRootHigh = registers.get(spec.RTADDR_REG + 4);
    }
    // RTPS and IRTPS clear when the command is given and come back with its completion; WBFS is set meanwhile.
    registers.clear(spec.GSTS_REG, value & (spec.GSTS_RTPS | spec.GSTS_IRTPS));
    registers.raise(spec.GSTS_REG, value & spec.GSTS_WBFS);
  }

  start(): void | Promise<void> {
    const { registers, spaces } = this.#parts;
    const acknowledged = registers.get(spec.GSTS_REG) & (spec.GSTS_RTPS | spec.GSTS_IRTPS);
    const oneShot = this.#oneShot;
    this.#oneShot = 0;
    this.#status = this.#wanted | acknowledged | (oneShot & (spec.GCMD_SRTP | spec.GCMD_SIRTP));
    const setsRoot = (oneShot & spec.GCMD_SRTP) !== 0;
    const wasTranslating = this.#translating;
    if (setsRoot) {
      this.#rootLow = this.#nextRootLow;
      this.#rootHigh = this.#nextRootHigh;
    }
    this.#translating = (this.#wanted & spec.GCMD_TE) !== 0;
    if (this.#translating === wasTranslating && !(setsRoot && this.#translating)) return;
    // Without CAP.ESRTPS software has to invalidate after SRTP; doing so at once does no harm.
    const batch = new InvalidationBatch();
    batch.everyStructure = true;
    return spaces.apply(batch);
  }

  complete(): void {
    const { registers, queue, recorder } = this.#parts;
    const before = registers.get(spec.GSTS_REG);
    // A command written meanwhile has cleared its acknowledgement again, and has it back when its own turn is over.
    const again = this.#oneShot & (spec.GCMD_SRTP | spec.GCMD_SIRTP);
    registers.set(spec.GSTS_REG, (this.#status & ~again) | (this.#oneShot & spec.GCMD_WBF));
    const after = registers.get(spec.GSTS_REG);
    const turned = before ^ after;
    if ((turned & spec.GSTS_QIES) !== 0) {
      if ((after & spec.GSTS_QIES) !== 0) {
        queue.enable();
        // The tail may have been set before the queue was enabled.
        this.#parts.requestQueue();
      } else {
        queue.disable();
      }
    }
    if ((after & (spec.GSTS_TES | spec.GSTS_IRES)) === 0) recorder.restart();
  }

  /** As after power-on; what the spaces show is the caller's to renew. */
  reset(): void {
    this.#translating = false;
    this.#rootLow = 0;
    this.#rootHigh = 0;
    this.#wanted = 0;
    this.#oneShot = 0;
  }

  /** Takes up the state that GSTS_REG and RTADDR_REG show; what the spaces show is the caller's to renew. */
  resume(): void {
    const { registers, queue } = this.#parts;
    const status = registers.get(spec.GSTS_REG);
    this.#translating = (status & spec.GSTS_TES) !== 0;
    this.#rootLow = registers.get(spec.RTADDR_REG);
    this.#rootHigh = registers.get(spec.RTADDR_REG + 4);
    this.#wanted = status & STATE;
    this.#oneShot = 0;
    if ((status & spec.GSTS_QIES) !== 0) queue.enable();
    else queue.disable();
  }
}

/** The commands that a unit obeys; fields of capabilities that it lacks are reserved (VT-d 11.4.4.1). */
function offered({ QI, IR, RWBF }: spec.Capability): number {
  let commands = spec.GCMD_TE | spec.GCMD_SRTP;
  if (QI) commands |= spec.GCMD_QIE;
  if (RWBF) commands |= spec.GCMD_WBF;
  if (IR) commands |= spec.GCMD_IRE | spec.GCMD_SIRTP | spec.GCMD_CFI;
  return commands;
}
