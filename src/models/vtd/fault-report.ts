import { formatRequesterId } from '../../iommu/index.ts';
import { addressOf, formatPage, type Observer } from '../../memory/index.ts';
import type { FaultOutcome } from './fault-recorder.ts';
import type { FaultingRequest } from './remapping-state.ts';
import { faultReason } from './spec/index.ts';

/** What became of a fault; `suppressed` by FPD. */
export type ReportedOutcome = FaultOutcome | 'suppressed';

/** Tells `observer` of a request that was blocked (`guest-fault`) and of what the guest can see of that. */
export function reportFault(observer: Observer, request: FaultingRequest, outcome: ReportedOutcome): void {
  const { page, isWrite, pasid, code } = request;
  const reason = faultReason(code);
  const why = reason === undefined ? `reason 0x${code.toString(16)}` : `${reason.condition}: ${reason.text}`;
  const requester = formatRequesterId(request.requester);
  const who = pasid === undefined ? requester : `${requester} with PASID ${pasid}`;
  observer.observe({
    kind: 'guest-fault',
    source: 'VT-d',
    message: `the ${isWrite ? 'write' : 'read'} of ${who} at ${formatPage(page)} was blocked. ${why} ${SEEN[outcome]}`,
    details: {
      requester,
      address: addressOf(page),
      access: isWrite ? 'w' : 'r',
      reason: code,
      outcome,
      ...(pasid === undefined ? {} : { pasid }),
    },
  });
}

const SEEN: Readonly<Record<ReportedOutcome, string>> = {
  recorded: 'It was recorded.',
  collapsed: 'A fault of the same source is pending, so it was not recorded.',
  overflow: 'No Fault Recording register was free: FSTS_REG.PFO is set.',
  dropped: 'It was not recorded, because the guest has yet to clear FSTS_REG.PFO.',
  suppressed: 'It was not recorded, because FPD is set.',
};
