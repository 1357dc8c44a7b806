import { InvalidationBatch, type RequesterSpaces, type Work } from '../../iommu/index.ts';
import { addressOf, formatAddress, type Observer, PageCursor } from '../../memory/index.ts';
import type { FaultStatus } from './fault-status.ts';
import type { InterruptMessage } from './interrupt-message.ts';
import { gather, type Wait } from './invalidation-commands.ts';
import type { RegisterFile } from '../register-file.ts';
import type { RemappingState } from './remapping-state.ts';
import type { RequesterSpace } from './requester-space.ts';
import * as spec from './spec/index.ts';

/** Where the queue is, as latched from IQA_REG when it was enabled. */
interface QueueMemory {
  readonly page: number;
  readonly bytes: number;
  readonly wide: boolean;
}

/** What the queue works with. */
export interface QueueParts {
  readonly state: RemappingState;
  readonly registers: RegisterFile;
  readonly status: FaultStatus;
  /** The invalidation event. */
  readonly event: InterruptMessage;
  readonly spaces: RequesterSpaces<RequesterSpace>;
  readonly observer: Observer | undefined;
}

/**
 * Queued invalidation (VT-d 6.5.2). One run takes every descriptor from IQH to IQT, does them together and, when the
 * hosts have confirmed, completes the waits among them in order. IQH moves only then: registers saved meanwhile say
 * what has still to be done, and doing an invalidation twice is harmless.
 *
 * Doing a descriptor behind a fence (FN) together with those before it is not visible: invalidating early is always
 * allowed, and status writes and events keep their order.
 */
export class InvalidationQueue implements Work {
  readonly #parts: QueueParts;
  readonly #cursor: PageCursor = new PageCursor();
  /** The descriptor as it was when it was fetched: the guest may write to it meanwhile. */
  readonly #words: Uint32Array = new Uint32Array(2 * spec.DESCRIPTOR_WORDS);
  #memory: QueueMemory | undefined;
  #head = 0;
  #waits: Wait[] = [];
  #error: number = spec.IQEI_NONE;

  constructor(parts: QueueParts) {
    this.#parts = parts;
  }

  /** QIES: latches IQA_REG. */
  enable(): void {
    const { registers } = this.#parts;
    const low = registers.get(spec.IQA_REG);
    this.#memory = {
      page: spec.pageOf(low, registers.get(spec.IQA_REG + 4)),
      bytes: 4096 << (low & spec.IQA_QS),
      wide: (low & spec.IQA_DW) !== 0,
    };
    this.#forget();
  }

  /** Not enabled: IQH is zero (VT-d 11.4.9.1). */
  disable(): void {
    this.#memory = undefined;
    this.#forget();
    this.#parts.registers.set(spec.IQH_REG, 0);
  }

  start(): void | Promise<void> {
    const { registers, status, spaces } = this.#parts;
    this.#head = registers.get(spec.IQH_REG);
    const memory = this.#memory;
    if (memory === undefined || status.has(spec.FSTS_IQE | spec.FSTS_ITE)) return;
    const tail = registers.get(spec.IQT_REG);
    this.#error = this.#checkQueue(memory, tail);
    if (this.#error !== spec.IQEI_NONE) return;
    const batch = new InvalidationBatch();
    this.#gather(memory, tail, batch);
    return spaces.apply(batch);
  }

  complete(): void {
    const { registers, status } = this.#parts;
    const waits = this.#waits;
    const error = this.#error;
    this.#waits = [];
    this.#error = spec.IQEI_NONE;
    registers.set(spec.IQH_REG, this.#head);
    for (const wait of waits) this.#completeWait(wait);
    if (error === spec.IQEI_NONE) return;
    registers.set(spec.IQERCD_REG, error);
    this.#observeError(error);
    status.raise(spec.FSTS_IQE);
  }

  /** What a run that was cancelled has left. */
  #forget(): void {
    this.#waits = [];
    this.#error = spec.IQEI_NONE;
  }

  #checkQueue({ wide, bytes }: QueueMemory, tail: number): number {
    const { state } = this.#parts;
    const width = spec.checkWidth(wide, state.translationTableMode, state.capability);
    if (width !== spec.IQEI_NONE) return width;
    if (wide && (tail & spec.IQT_MISALIGNED) !== 0) return spec.IQEI_TAIL_ALIGNMENT;
    return tail < bytes ? spec.IQEI_NONE : spec.IQEI_TAIL;
  }

  /** From head to tail, or to the first descriptor that is in error, at which the head then stays. */
  #gather({ page, bytes, wide }: QueueMemory, tail: number, batch: InvalidationBatch): void {
    const { state } = this.#parts;
    const stride = wide ? 32 : 16;
    let fetched = -1;
    while (this.#head !== tail) {
      const at = page + (this.#head >>> 12);
      if (at !== fetched && !state.memory.locate(at, this.#cursor)) {
        this.#error = spec.IQEI_FETCH;
        return;
      }
      fetched = at;
      const word = this.#cursor.base + ((this.#head & 0xfff) >>> 2);
      this.#words.set(this.#cursor.words.subarray(word, word + stride / 4));
      const mode = state.translationTableMode;
      this.#error = spec.checkDescriptor(this.#words, 0, wide, mode, state.capability);
      if (this.#error !== spec.IQEI_NONE) return;
      const wait = gather(this.#words, batch);
      if (wait !== undefined) this.#waits.push(wait);
      this.#head = (this.#head + stride) % bytes;
    }
  }

  /** VT-d 6.5.2.8: the status write precedes the event. */
  #completeWait({ status, interrupt }: Wait): void {
    const { registers, event, state } = this.#parts;
    if (status !== undefined) {
      const cursor = new PageCursor();
      if (state.memory.locate(status.page, cursor, true))
        cursor.words[cursor.base + status.word] = status.data;
      else this.#observeStatusLost(addressOf(status.page) + BigInt(status.word * 4));
    }
    if (!interrupt) return;
    // While IWC is set a further completion is no new condition (VT-d 11.4.9.5).
    const told = (registers.get(spec.ICS_REG) & spec.ICS_IWC) !== 0;
    registers.raise(spec.ICS_REG, spec.ICS_IWC);
    if (!told) event.raise();
  }

  #observeError(error: number): void {
    const { observer } = this.#parts;
    if (observer === undefined || this.#memory === undefined) return;
    const address = addressOf(this.#memory.page) + BigInt(this.#head);
    observer.observe({
      kind: 'queue-error',
      source: 'VT-d',
      message:
        `the invalidation queue stopped at ${formatAddress(address)}: ${ERRORS[error]} (IQEI ${error}). It goes on ` +
        'when the guest has put that right and cleared FSTS_REG.IQE',
      details: { address, IQEI: error },
    });
  }

  #observeStatusLost(address: bigint): void {
    this.#parts.observer?.observe({
      kind: 'queue-error',
      source: 'VT-d',
      message: `a wait descriptor names status address ${formatAddress(address)}, which is no writable RAM: nothing was written`,
      details: { address },
    });
  }
}

const ERRORS: Readonly<Record<number, string>> = {
  [spec.IQEI_TAIL]: 'IQT_REG is not inside the queue',
  [spec.IQEI_FETCH]: 'the descriptor does not lie in RAM',
  [spec.IQEI_TYPE]: 'the unit knows no such descriptor type in this translation table mode',
  [spec.IQEI_RESERVED]: 'a field of the descriptor holds a reserved value',
  [spec.IQEI_WIDTH]: 'IQA_REG.DW does not fit the unit or the translation table mode',
  [spec.IQEI_TAIL_ALIGNMENT]: 'IQT_REG bit 4 is set though descriptors are 256 bits wide',
  [spec.IQEI_TTM]: 'RTADDR_REG.TTM holds a mode that the unit cannot use',
};
