import { formatRequesterId } from '../../iommu/index.ts';
import { addressOf, formatPage, type Observer } from '../../memory/index.ts';
import type { FaultingRequest } from './amdvi-state.ts';
import type { EventOutcome } from './event-log.ts';

/** What became of a fault; `suppressed` by SE or SA. */
export type ReportedOutcome = EventOutcome | 'suppressed';

/** Tells `observer` of a request that was blocked (`guest-fault`) and of what the guest can see of that. */
export function reportFault(observer: Observer, request: FaultingRequest, outcome: ReportedOutcome): void {
  const { page, isWrite, fault } = request;
  const requester = formatRequesterId(request.requester);
  observer.observe({
    kind: 'guest-fault',
    source: 'AMD-Vi',
    message:
      `the ${isWrite ? 'write' : 'read'} of ${requester} at ${formatPage(page)} was blocked. ${fault.reason}. ` +
      SEEN[outcome],
    details: {
      requester,
      address: addressOf(page),
      access: isWrite ? 'w' : 'r',
      reason: fault.code,
      outcome,
    },
  });
}

const SEEN: Readonly<Record<ReportedOutcome, string>> = {
  logged: 'It was logged.',
  overflow: 'The event log was full: EventOverflow is set.',
  stopped: 'It was not logged, because the event log does not run.',
  unwritable: 'It was not logged, because the event log does not lie in RAM.',
  suppressed: 'It was not logged, because SE or SA is set in the device table entry.',
};
