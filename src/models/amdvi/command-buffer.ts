import { InvalidationBatch, type RequesterId, type RequesterSpaces, type Work } from '../../iommu/index.ts';
import {
  type AddressSpace,
  addressOf,
  formatAddress,
  type Observer,
  PageCursor,
} from '../../memory/index.ts';
import type { RegisterFile } from '../register-file.ts';
import type { AmdviSpace } from './amdvi-space.ts';
import { gather, type Gathered, type Store } from './commands.ts';
import type { EventLog } from './event-log.ts';
import type { OwnInterrupt } from './own-interrupt.ts';
import { type Ring, ringAt, ringOffset } from './ring.ts';
import * as spec from './spec/index.ts';

/** What the command buffer works with. */
export interface CommandBufferParts {
  readonly memory: AddressSpace;
  readonly capability: spec.Capability;
  readonly registers: RegisterFile;
  readonly spaces: RequesterSpaces<AmdviSpace>;
  readonly events: EventLog;
  readonly interrupt: OwnInterrupt;
  readonly observer: Observer | undefined;
  /** Device table entries of these devices, or all, were invalidated. */
  readonly entriesInvalidated: (devices: Iterable<RequesterId> | 'all') => void;
}

/** Why processing stopped, as the event log tells it. */
interface Halt {
  readonly flags: number;
  readonly address: bigint;
  readonly why: string;
}

/** What was fetched, and has yet to be completed. */
interface Run {
  /** Offset behind the last command that was fetched, or of the one that is in error. */
  head: number;
  readonly gathered: Gathered;
  /** Offset of each wait. */
  readonly waitsAt: number[];
  halt: Halt | undefined;
}

/**
 * The command buffer (AMD-Vi 2.4, 3.4). One run takes every command from head to tail, does them together and, when the
 * hosts have confirmed, completes the waits among them in order. The head moves only then: registers saved meanwhile say
 * what has still to be done, and doing an invalidation twice is harmless.
 */
export class CommandBuffer implements Work {
  readonly #parts: CommandBufferParts;
  readonly #cursor = new PageCursor();
  /** The command as it was when it was fetched: the guest may write to it meanwhile. */
  readonly #words = new Uint32Array(spec.COMMAND_WORDS);
  /** The run that is under way. */
  #run: Run | undefined;
  /** CmdBufEn or IommuEn was cleared during a run. */
  #stopping = false;

  constructor(parts: CommandBufferParts) {
    this.#parts = parts;
  }

  /** CmdBufEn and IommuEn are both set now and were not before. */
  enable(): void {
    this.#stopping = false;
    if (ringAt(this.#parts.registers, spec.COMMAND_BUFFER_BASE) === undefined) return;
    this.#parts.registers.raise(spec.STATUS, spec.STATUS_CmdBufRun);
  }

  /** CmdBufRun is cleared when the commands that were fetched are done. */
  disable(): void {
    if (this.#run === undefined) this.#parts.registers.clear(spec.STATUS, spec.STATUS_CmdBufRun);
    else this.#stopping = true;
  }

  /** Software wrote the base register: head and tail are zero again, and what was fetched before leaves no trace. */
  rebased(): void {
    this.#run = undefined;
    this.#parts.registers.set(spec.COMMAND_BUFFER_HEAD, 0);
    this.#parts.registers.set(spec.COMMAND_BUFFER_TAIL, 0);
  }

  /** Forgets a run that was cancelled. */
  forget(): void {
    this.#run = undefined;
    this.#stopping = false;
  }

  start(): void | Promise<void> {
    const { registers, spaces, entriesInvalidated } = this.#parts;
    const ring = ringAt(registers, spec.COMMAND_BUFFER_BASE);
    if (ring === undefined || (registers.get(spec.STATUS) & spec.STATUS_CmdBufRun) === 0) return;
    const gathered: Gathered = {
      batch: new InvalidationBatch(),
      waits: [],
      entries: new Set(),
      everyEntry: false,
    };
    this.#run = { head: 0, gathered, waitsAt: [], halt: undefined };
    this.#fetch(ring, this.#run);
    entriesInvalidated(gathered.everyEntry ? 'all' : gathered.entries);
    return spaces.apply(gathered.batch);
  }

  complete(): void {
    const { registers } = this.#parts;
    const run = this.#run;
    this.#run = undefined;
    if (run !== undefined) {
      const { head, halt } = this.#completeWaits(run);
      registers.set(spec.COMMAND_BUFFER_HEAD, head);
      if (halt !== undefined) this.#halt(halt);
    }
    if (!this.#stopping) return;
    this.#stopping = false;
    registers.clear(spec.STATUS, spec.STATUS_CmdBufRun);
  }

  /** In order, to the first that cannot store: processing ends there, whatever was fetched behind it. */
  #completeWaits({ head, gathered, waitsAt, halt }: Run): Pick<Run, 'head' | 'halt'> {
    for (const [i, { store, interrupt }] of gathered.waits.entries()) {
      if (store !== undefined && !this.#store(store)) {
        const address = addressOf(store.page) + BigInt(store.word * 4);
        return {
          head: waitsAt[i],
          halt: {
            flags: UNREACHABLE,
            address,
            why: 'a COMPLETION_WAIT stores where there is no writable RAM',
          },
        };
      }
      if (interrupt) this.#parts.interrupt.raise(spec.STATUS_ComWaitInt, spec.CONTROL_ComWaitIntEn);
    }
    return { head, halt };
  }

  /** From head to tail, or to the first command that is in error, at which the head then stays. */
  #fetch(ring: Ring, run: Run): void {
    const { memory, capability, registers } = this.#parts;
    const tail = ringOffset(registers, spec.COMMAND_BUFFER_TAIL, ring);
    let fetched = -1;
    run.head = ringOffset(registers, spec.COMMAND_BUFFER_HEAD, ring);
    while (run.head !== tail) {
      const page = ring.page + (run.head >>> 12);
      const address = addressOf(page) + BigInt(run.head & 0xfff);
      if (page !== fetched && !memory.locate(page, this.#cursor)) {
        run.halt = { flags: UNREACHABLE, address, why: 'the command does not lie in RAM' };
        return;
      }
      fetched = page;
      const word = this.#cursor.base + ((run.head & 0xfff) >>> 2);
      this.#words.set(this.#cursor.words.subarray(word, word + spec.COMMAND_WORDS));
      if (!spec.isLegalCommand(this.#words, 0, capability)) {
        run.halt = {
          flags: ILLEGAL,
          address,
          why: 'the IOMMU knows no such command, or a reserved bit is set',
        };
        return;
      }
      if (gather(this.#words, run.gathered) === 'wait') run.waitsAt.push(run.head);
      run.head = (run.head + spec.COMMAND_BYTES) % ring.bytes;
    }
  }

  #store({ page, word, lo, hi }: Store): boolean {
    const cursor = new PageCursor();
    if (!this.#parts.memory.locate(page, cursor, true)) return false;
    cursor.words[cursor.base + word] = lo;
    cursor.words[cursor.base + word + 1] = hi;
    return true;
  }

  /** Processing stops until software clears and sets CmdBufEn (AMD-Vi 2.5.6, 2.5.7). */
  #halt({ flags, address, why }: Halt): void {
    const { registers, events, observer } = this.#parts;
    registers.clear(spec.STATUS, spec.STATUS_CmdBufRun);
    events.record({ flags, address });
    observer?.observe({
      kind: 'queue-error',
      source: 'AMD-Vi',
      message:
        `the command buffer stopped at ${formatAddress(address)}: ${why}. It goes on when the guest has put that right ` +
        'and has cleared and set CmdBufEn',
      details: { address, event: spec.EVENT_NAMES[spec.eventCodeOf(flags)] ?? '' },
    });
  }
}

const ILLEGAL = spec.ILLEGAL_COMMAND_ERROR << 12;
const UNREACHABLE = (spec.COMMAND_HARDWARE_ERROR << 12) | (spec.ERROR_MASTER_ABORT << 9);
