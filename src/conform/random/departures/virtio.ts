import type { Requester } from '../../scenario.ts';
import { type ActionStep, type GuestState, rangeOf } from '../guest-state.ts';
import type { KnownDeparture } from '../known-departure.ts';
import { inside } from '../known-tables.ts';
import { accessesInterrupts, hasInterrupts, heldIn } from './shared.ts';

/** Of QEMU's virtio-iommu. R8, R35 and R42 are about messages, which are not compared. */
export const VIRTIO_DEPARTURES: readonly KnownDeparture[] = [
  {
    finding: 'R11',
    model: 'virtio-iommu',
    why: 'no UNMAP splits a mapping: other mappings would be gone, though it is refused',
    excludes: (step, state) => splitsOneOfSeveral(step, state),
  },
  {
    finding: 'R18, R21',
    model: 'virtio-iommu',
    why: 'hosts have no limits: their refusals are printed and forgotten',
    excludes: (step) => step.do === 'plug' && step.sink !== undefined,
  },
  {
    finding: 'R33',
    model: 'virtio-iommu',
    why: 'nothing is mapped beyond input_range: it would not be refused',
    excludes: (step) => step.do === 'map' && rangeOf(step).end > INPUT_END,
  },
  {
    finding: 'R34',
    model: 'virtio-iommu',
    why: 'nothing is mapped over the interrupt doorbell: it would not be refused',
    excludes: (step) => step.do === 'map' && hasInterrupts(rangeOf(step)),
  },
  {
    finding: 'none',
    model: 'virtio-iommu',
    why: 'only what was plugged once is attached: QEMU makes an endpoint with the device, our machine with the slot',
    excludes: (step, state) => step.do === 'attach' && !state.isKnown(step.who),
  },
  {
    finding: 'R43',
    model: 'virtio-iommu',
    why: 'a driver that starts again has detached everything: attachments would stay',
    excludes: (step, state) => step.do === 'restart' && REQUESTERS.some((who) => isAttached(who, state)),
  },
  {
    finding: 'R44',
    model: 'virtio-iommu',
    why: 'of fault reports the access is not compared, and the reason for mappings only',
    blurs: (fault) => fault.replace(/ [rw?] /, ' ').replace(/ (DOMAIN|UNKNOWN)$/, ''),
  },
  {
    finding: 'none',
    model: 'virtio-iommu',
    why: 'nothing is read from or written to the interrupt range: what is there is no matter of the IOMMU',
    excludes: accessesInterrupts,
  },
];

/** Exclusive end of input_range in scenarios, in pages. */
const INPUT_END: number = 2 ** 36;
const REQUESTERS: readonly Requester[] = ['nic', 'disk', 'pci1', 'edu'];

function isAttached(who: Requester, state: GuestState): boolean {
  return state.domainOf(who) !== undefined;
}

function splitsOneOfSeveral(step: ActionStep, state: GuestState): boolean {
  if (step.do !== 'unmap') return false;
  const range = rangeOf(step);
  const held = heldIn(state, step.domain, range);
  return held.length > 1 && !held.every((mapping) => inside(mapping, range));
}
