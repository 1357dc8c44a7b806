/** The event log, read as a guest's driver reads it (AMD-Vi 2.5). @module */
import type { RequesterId } from '../../iommu/index.ts';
import { PAGE_WORDS } from '../../memory/index.ts';
import { spec } from '../../models/amdvi/index.ts';
import type { DriverPages } from '../driver/pages.ts';
import type { RegisterAccess } from '../driver/registers.ts';

/** An entry of the event log: what events have in common, and its words for the rest. */
export interface AmdviEvent {
  /** EventCode, such as `spec.IO_PAGE_FAULT`. */
  readonly code: number;
  /** DeviceID; 0 in events of commands. */
  readonly requester: RequesterId;
  /** DomainID; 0 in events that have none. */
  readonly domain: number;
  /** RW; false in events that are about no request. */
  readonly isWrite: boolean;
  /** Byte address: what each event's section says. */
  readonly address: bigint;
  /** The four words of the entry. */
  readonly words: readonly number[];
}

/** Where an event log lies. */
export interface EventLogPlace {
  /** First page. */
  readonly page: number;
  readonly entries: number;
}

/** Takes events out of a log. */
export class EventLog {
  readonly #pages: DriverPages;
  readonly #registers: RegisterAccess;
  readonly #place: EventLogPlace;
  #head: number;

  /** Goes on at the head that the registers tell. */
  constructor(pages: DriverPages, registers: RegisterAccess, place: EventLogPlace) {
    this.#pages = pages;
    this.#registers = registers;
    this.#place = place;
    this.#head = this.#slot(spec.EVENT_LOG_HEAD);
  }

  /** Takes what the log holds, as far as the registers tell. */
  take(): AmdviEvent[] {
    const tail = this.#slot(spec.EVENT_LOG_TAIL);
    const events: AmdviEvent[] = [];
    while (this.#head !== tail) {
      const at = this.#head * spec.EVENT_WORDS;
      const page = this.#place.page + Math.floor(at / PAGE_WORDS);
      events.push(decode(this.#pages.read(page, at % PAGE_WORDS, spec.EVENT_WORDS)));
      this.#head = (this.#head + 1) % this.#place.entries;
    }
    if (events.length > 0) {
      this.#registers.writeRegister(spec.EVENT_LOG_HEAD, BigInt(this.#head * spec.EVENT_BYTES), 8);
    }
    return events;
  }

  /** The slot that a head or tail register names; a unit cannot name one behind the log's end. */
  #slot(register: number): number {
    const offset = Number(this.#registers.readRegister(register, 8)) & spec.RING_OFFSET;
    return (offset / spec.EVENT_BYTES) % this.#place.entries;
  }
}

function decode(words: readonly number[]): AmdviEvent {
  const { EventCode, DeviceID, DomainID, RW, AddressLo, AddressHi } = spec.IO_PAGE_FAULT_EVENT.fields;
  const high = BigInt(spec.readField(words, AddressHi));
  return {
    code: spec.readField(words, EventCode),
    requester: spec.readField(words, DeviceID),
    domain: spec.readField(words, DomainID),
    isWrite: spec.readField(words, RW) === 1,
    address: (high << 32n) | BigInt(spec.readField(words, AddressLo)),
    words,
  };
}
