import type { Requester } from '../../scenario.ts';
import { type ActionStep, type GuestState, requesterOf, type StepOf } from '../guest-state.ts';
import type { KnownDeparture } from '../known-departure.ts';
import { accessesInterrupts, crossesInterrupts, forgetsAccessed, plugsSecondUntold } from './shared.ts';

/** Of QEMU's VT-d. R1 and R23 are about messages, which are not compared. */
export const VTD_DEPARTURES: readonly KnownDeparture[] = [
  {
    finding: 'R3',
    model: 'vtd',
    why: 'a large leaf that hosts may still hold gives way to a smaller one, or a table, only with an invalidation of all structures',
    disturbs: (_step, who, state) => isSplitFor(who, state),
    settles: (step) => step.do === 'invalidate' && step.what === 'structures',
    remedy: (_step, state) =>
      state.plugged.some((slot) => isSplitFor(slot, state)) ? [{ do: 'invalidate', what: 'structures' }] : [],
  },
  {
    finding: 'R5',
    model: 'vtd',
    why: 'no large leaf is partly in the interrupt range: it would not be mapped at all',
    excludes: crossesInterrupts,
  },
  {
    finding: 'R18, R21',
    model: 'vtd',
    why: 'hosts have no limits: their refusals are printed and forgotten',
    excludes: (step) => step.do === 'plug' && step.sink !== undefined,
  },
  {
    finding: 'R19',
    model: 'vtd',
    mode: 'scalable',
    why: 'a switch or detach is followed by an invalidation of all structures, until which a device may stay where it was',
    // Accesses of the edu device look at the entry themselves, unless it was passed through.
    disturbs: (step, who, state) =>
      leaves(step) && requesterOf(step.who) === requesterOf(who) && (who !== 'edu' || state.passesThrough),
    settles: (step) => step.do === 'invalidate' && step.what === 'structures',
    remedy: (step, state) =>
      leaves(step) && state.isPlugged(step.who) ? [{ do: 'invalidate', what: 'structures' }] : [],
  },
  {
    finding: 'R24',
    model: 'vtd',
    why: 'no entry has a reserved bit set: a walk would end there and leave all behind it as it was',
    excludes: (step) => step.do === 'entry' && step.is === 'raw',
  },
  {
    finding: 'R25',
    model: 'vtd',
    why: 'a page that was accessed is invalidated: what the IOTLB says is not allowed is blocked and not recorded',
    remedy: forgetsAccessed,
  },
  {
    finding: 'none',
    model: 'vtd',
    why: 'nothing is read from or written to the interrupt range: what is there is no matter of the IOMMU',
    excludes: accessesInterrupts,
  },
  {
    finding: 'R46',
    model: 'vtd',
    mode: 'scalable',
    why: 'of conditions it is compared which structure they are about: those of legacy mode are recorded',
    blurs: (fault) =>
      fault
        .replace(/ [LS](RT|CT)\./, ' $1.')
        .replace(/ (LGN|SGN|SSS)\.\d+$/, ' tables')
        .replace(/ SPT\.[24]$/, ' SPT'),
  },
  {
    finding: 'R49',
    model: 'vtd',
    why: 'no second device of a requester is plugged while tables have changed untold: the first would not learn of it',
    excludes: plugsSecondUntold,
  },
];

function isSplitFor(who: Requester, state: GuestState): boolean {
  return state.tablesOf(state.domainOf(who))?.isSplit === true;
}

/** Whether a requester leaves its domain. */
function leaves(step: ActionStep): step is StepOf<'switch' | 'detach'> {
  return step.do === 'switch' || step.do === 'detach';
}
