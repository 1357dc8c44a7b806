/** The registers of an IOMMU as a guest's driver works them (AMD-Vi 3.4). @module */
import { spec } from '../../models/amdvi/index.ts';
import { GuestDriverError } from '../driver/error.ts';
import type { DriverPages } from '../driver/pages.ts';
import { DriverQueue } from '../driver/queue.ts';
import type { RegisterAccess, Settled } from '../driver/registers.ts';
import type { Completion } from '../driver/steps.ts';
import type { DeviceTablePlace } from './device-table.ts';
import { EventLog } from './event-log.ts';
import { CommandBufferPort } from './queue-port.ts';

/** ComLen and EventLen: log2 of the entries of the rings that Linux makes, two pages each. */
const RING_LENGTH = 9;

/** The control register, base addresses, and the rings they lead to. */
export class AmdviUnit {
  readonly capability: spec.Capability;
  readonly #registers: RegisterAccess;
  readonly #settled: Settled | undefined;
  /** What was last written to the control register: behind a unit that answers later, a read may be older. */
  #control: bigint;

  /** `header` is that of the PCI capability block, where a unit says what the registers do not. */
  constructor(registers: RegisterAccess, settled: Settled | undefined, header: number) {
    this.#registers = registers;
    this.#settled = settled;
    const efr = registers.readRegister(spec.EXTENDED_FEATURE, 8);
    this.capability = spec.decodeCapability(header, [Number(efr & 0xffffffffn), Number(efr >> 32n)]);
    this.#control = registers.readRegister(spec.CONTROL, 8);
  }

  /** IommuEn: while it is clear nothing is translated, and no command is fetched. */
  get enabled(): boolean {
    return this.#has(spec.CONTROL_IommuEn);
  }

  /** Whether the unit is as a reset leaves it: no command buffer, not enabled. */
  get fresh(): boolean {
    return !this.enabled && !this.#has(spec.CONTROL_CmdBufEn);
  }

  /** Status.EventOverflow: the log was full, and the unit logs no more. */
  get eventOverflow(): boolean {
    return (this.#status() & spec.STATUS_EventOverflow) !== 0;
  }

  /** Gives the unit its device table. */
  setDeviceTable({ page, pages }: DeviceTablePlace): void {
    this.#write(spec.DEVICE_TABLE_BASE, (BigInt(page) << 12n) | BigInt(pages - 1));
  }

  /** The device table that the unit has. */
  deviceTable(): DeviceTablePlace {
    const base = this.#registers.readRegister(spec.DEVICE_TABLE_BASE, 8);
    return { page: pageIn(base), pages: (Number(base & 0xfffn) & spec.DEVICE_TABLE_SIZE) + 1 };
  }

  /** New rings for commands and events, which the unit uses once it is enabled. */
  makeRings(pages: DriverPages): { readonly queue: DriverQueue; readonly log: EventLog } {
    const commands = this.#makeRing(pages, spec.COMMAND_BUFFER_BASE);
    const events = this.#makeRing(pages, spec.EVENT_LOG_BASE);
    this.#resetCommands();
    this.#write(spec.EVENT_LOG_HEAD, 0n);
    this.#write(spec.EVENT_LOG_TAIL, 0n);
    this.#setControl(BigInt(spec.CONTROL_CmdBufEn | spec.CONTROL_EventLogEn), true);
    const log = new EventLog(pages, this.#registers, { page: events, entries: 2 ** RING_LENGTH });
    return { queue: this.#queue(pages, commands, 2 ** RING_LENGTH, 0), log };
  }

  /** The rings that the unit uses now, to go on with; their pages are taken from the allocator. */
  adoptRings(pages: DriverPages): { readonly queue: DriverQueue; readonly log: EventLog } {
    if (!this.#has(spec.CONTROL_CmdBufEn)) {
      throw new GuestDriverError(
        'state',
        'the guest had its command buffer off (Control.CmdBufEn); boot the guest instead',
      );
    }
    const commands = this.#adoptRing(pages, spec.COMMAND_BUFFER_BASE);
    const events = this.#adoptRing(pages, spec.EVENT_LOG_BASE);
    const offset = Number(this.#registers.readRegister(spec.COMMAND_BUFFER_TAIL, 8)) & spec.RING_OFFSET;
    const tail = (offset / spec.COMMAND_BYTES) % commands.entries;
    return {
      queue: this.#queue(pages, commands.page, commands.entries, tail),
      log: new EventLog(pages, this.#registers, events),
    };
  }

  /** Turns the unit on or off, and completes when it is. */
  setEnabled(on: boolean): Completion {
    this.#setControl(BigInt(spec.CONTROL_IommuEn), on);
    if (!on) return this.#settled?.();
    return this.#fetching();
  }

  /** After a command that the unit refused: starts with an empty command buffer. */
  restartCommands(): Completion {
    this.#setControl(BigInt(spec.CONTROL_CmdBufEn), false);
    this.#resetCommands();
    this.#setControl(BigInt(spec.CONTROL_CmdBufEn), true);
    return this.#fetching();
  }

  /** After an overflow: lets the unit log again. */
  restartEventLog(): void {
    this.#setControl(BigInt(spec.CONTROL_EventLogEn), false);
    this.#write(spec.STATUS, BigInt(spec.STATUS_EventOverflow));
    this.#setControl(BigInt(spec.CONTROL_EventLogEn), true);
  }

  #has(bit: number): boolean {
    return (this.#control & BigInt(bit)) !== 0n;
  }

  #status(): number {
    return Number(this.#registers.readRegister(spec.STATUS, 8) & 0xffffffffn);
  }

  #write(register: number, value: bigint): void {
    this.#registers.writeRegister(register, value, 8);
  }

  #setControl(bits: bigint, on: boolean): void {
    this.#control = on ? this.#control | bits : this.#control & ~bits;
    this.#write(spec.CONTROL, this.#control);
  }

  #resetCommands(): void {
    this.#write(spec.COMMAND_BUFFER_HEAD, 0n);
    this.#write(spec.COMMAND_BUFFER_TAIL, 0n);
  }

  /** Completes when the unit fetches commands. */
  #fetching(): Completion {
    if (this.#fetches()) return;
    const settled = this.#settled;
    if (settled === undefined) throw stuck();
    return (async () => {
      await settled();
      if (!this.#fetches()) throw stuck();
    })();
  }

  #fetches(): boolean {
    return (this.#status() & spec.STATUS_CmdBufRun) !== 0;
  }

  /** First page of a new ring. */
  #makeRing(pages: DriverPages, register: number): number {
    const page = pages.allocate((2 ** RING_LENGTH * spec.COMMAND_BYTES) / 4096);
    const length = BigInt(RING_LENGTH) << BigInt(32 + spec.RING_LENGTH_SHIFT_HI);
    this.#write(register, (BigInt(page) << 12n) | length);
    return page;
  }

  #adoptRing(pages: DriverPages, register: number): { readonly page: number; readonly entries: number } {
    const base = this.#registers.readRegister(register, 8);
    const length = (Number(base >> 32n) & spec.RING_LENGTH_HI) >>> spec.RING_LENGTH_SHIFT_HI;
    // Lengths below the minimum are reserved; a unit takes them for the minimum at best.
    const entries = 2 ** Math.max(length, spec.RING_LENGTH_MINIMUM);
    const page = pageIn(base);
    pages.allocator.reserve({ start: page, end: page + Math.ceil((entries * spec.COMMAND_BYTES) / 4096) });
    return { page, entries };
  }

  #queue(pages: DriverPages, page: number, entries: number, tail: number): DriverQueue {
    const place = { page, pages: (entries * spec.COMMAND_BYTES) / 4096, words: spec.COMMAND_WORDS, tail };
    return new DriverQueue(pages, new CommandBufferPort(this.#registers), place, this.#settled);
  }
}

/** Bits 51:12 of a base address. */
function pageIn(base: bigint): number {
  return spec.pageOf(Number(base & 0xffffffffn), Number(base >> 32n) & spec.BASE_PAGE_HI);
}

function stuck(): GuestDriverError {
  return new GuestDriverError('stuck', 'the unit does not start: Status.CmdBufRun did not become set');
}
