/** What QEMU 11.1.3 is known to get wrong, for random steps to keep clear of. @module */
import type { KnownDeparture } from '../known-departure.ts';
import { AMDVI_DEPARTURES } from './amdvi.ts';
import { VIRTIO_DEPARTURES } from './virtio.ts';
import { VTD_DEPARTURES } from './vtd.ts';

/** By model, and then by finding. */
export const QEMU_DEPARTURES: readonly KnownDeparture[] = [
  ...VTD_DEPARTURES,
  ...AMDVI_DEPARTURES,
  ...VIRTIO_DEPARTURES,
];
