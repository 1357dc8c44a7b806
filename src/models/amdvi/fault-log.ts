import type { RequesterId } from '../../iommu/index.ts';
import { addressOf, type Observer } from '../../memory/index.ts';
import type { FaultingRequest } from './amdvi-state.ts';
import type { EventLog } from './event-log.ts';
import { type ReportedOutcome, reportFault } from './fault-report.ts';
import * as spec from './spec/index.ts';

/** Requests that fault, on their way into the event log, less those that device table entries keep out of it. */
export class FaultLog {
  readonly #events: EventLog;
  readonly #observer: Observer | undefined;
  /** Devices with SE whose first I/O page fault has been logged. */
  readonly #reported: Set<RequesterId> = new Set();

  constructor(events: EventLog, observer: Observer | undefined) {
    this.#events = events;
    this.#observer = observer;
  }

  record(request: FaultingRequest): void {
    const outcome = this.#outcome(request);
    if (this.#observer !== undefined) reportFault(this.#observer, request, outcome);
  }

  /** The device table entries of `devices`, or all, were invalidated: SE lets one fault pass again. */
  entriesInvalidated(devices: Iterable<RequesterId> | 'all'): void {
    if (devices === 'all') this.#reported.clear();
    else for (const device of devices) this.#reported.delete(device);
  }

  #outcome(request: FaultingRequest): ReportedOutcome {
    const { requester, fault, suppress } = request;
    if (spec.eventCodeOf(fault.code) === spec.IO_PAGE_FAULT) {
      if (suppress === 'all' || (suppress === 'repeated' && this.#reported.has(requester)))
        return 'suppressed';
    }
    const outcome = this.#events.record(entryOf(request));
    if (suppress === 'repeated' && outcome === 'logged') this.#reported.add(requester);
    return outcome;
  }
}

function entryOf({ requester, page, isWrite, fault, address, domain }: FaultingRequest): spec.EventEntry {
  const event = spec.eventCodeOf(fault.code);
  return {
    flags: fault.code,
    // INVALID_DEVICE_REQUEST has a wider Type instead.
    isWrite: isWrite && event !== spec.INVALID_DEVICE_REQUEST,
    DeviceID: requester,
    ...(event === spec.IO_PAGE_FAULT || event === spec.PAGE_TAB_HARDWARE_ERROR ? { DomainID: domain } : {}),
    address: address ?? addressOf(page),
  };
}
