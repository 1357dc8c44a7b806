import { type ActionStep, type GuestState, requesterOf, type StepOf } from '../guest-state.ts';
import { span } from '../known-tables.ts';
import type { KnownDeparture } from '../known-departure.ts';
import {
  accessesInterrupts,
  crossesInterrupts,
  entryRange,
  forgetsAccessed,
  heldIn,
  newLeaves,
  plugsSecondUntold,
} from './shared.ts';

/** Of QEMU's VT-d. R1 and R23 are about messages, which are not compared. */
export const VTD_DEPARTURES: readonly KnownDeparture[] = [
  {
    finding: 'R3',
    model: 'vtd',
    why: 'no smaller leaf, and no table, takes the place of a large leaf that hosts may still hold: it would stay',
    excludes: (step, state) => splits(step, state),
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
    why: 'a switch or detach is followed by an invalidation of all structures, until which a plugged device stays where it was',
    disturbs: (step, who) => leaves(step) && requesterOf(step.who) === requesterOf(who) && who !== 'edu',
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
    finding: 'R49',
    model: 'vtd',
    why: 'no second device of a requester is plugged while tables have changed untold: the first would not learn of it',
    excludes: plugsSecondUntold,
  },
  {
    finding: 'R48',
    model: 'vtd',
    mode: 'scalable',
    why: 'of conditions it is compared which structure they are about: those of legacy mode are recorded',
    blurs: (fault) => fault.replace(/ [LS](RT|CT)\./, ' $1.').replace(/ (LGN|SGN|SSS)\.\d+$/, ' tables'),
  },
  {
    finding: 'R49',
    model: 'vtd',
    mode: 'scalable',
    why: 'of a PASID-table entry that is not present it is not compared that it is not: its fields are looked at first',
    blurs: (fault) => fault.replace(/ SPT\.[24]$/, ' SPT'),
  },
];

function splits(step: ActionStep, state: GuestState): boolean {
  if (step.do === 'entry' && step.is === 'table')
    return heldIn(state, step.domain, entryRange(step)).some(
      ({ start, end }) => end - start > span(step.level - 1),
    );
  const written = newLeaves(step);
  if (written === undefined || !('domain' in step)) return false;
  return heldIn(state, step.domain, written.range).some(({ start, end }) => end - start > written.leafPages);
}

/** Whether a requester leaves its domain. */
function leaves(step: ActionStep): step is StepOf<'switch' | 'detach'> {
  return step.do === 'switch' || step.do === 'detach';
}
