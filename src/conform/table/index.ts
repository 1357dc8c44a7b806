/** Every scenario. @module */
import type { Scenario } from '../scenario.ts';
import { AMDVI_CHANGES } from './amdvi-changes.ts';
import { AMDVI_DEVICES } from './amdvi-devices.ts';
import { AMDVI_SIZES } from './amdvi-sizes.ts';
import { RANDOM_FINDS } from './random-finds.ts';
import { AMDVI_STAGES } from './amdvi-stages.ts';
import { VIRTIO_DOMAINS } from './virtio-domains.ts';
import { VIRTIO_MAPPINGS } from './virtio-mappings.ts';
import { VIRTIO_RANGES } from './virtio-ranges.ts';
import { VIRTIO_REQUESTS } from './virtio-requests.ts';
import { VTD_CHANGES } from './vtd-changes.ts';
import { VTD_DOMAINS } from './vtd-domains.ts';
import { VTD_QUEUE } from './vtd-queue.ts';
import { VTD_REPLAYS } from './vtd-replays.ts';
import { VTD_SCALABLE } from './vtd-scalable.ts';
import { VTD_SIZES } from './vtd-sizes.ts';
import { VTD_SPLITS } from './vtd-splits.ts';
import { VTD_STAGES } from './vtd-stages.ts';

/** In the order in which they are run and reported. */
export const SCENARIOS: readonly Scenario[] = [
  ...VTD_SIZES,
  ...VTD_SPLITS,
  ...VTD_CHANGES,
  ...VTD_DOMAINS,
  ...VTD_STAGES,
  ...VTD_REPLAYS,
  ...VTD_SCALABLE,
  ...VTD_QUEUE,
  ...AMDVI_SIZES,
  ...AMDVI_CHANGES,
  ...AMDVI_DEVICES,
  ...AMDVI_STAGES,
  ...VIRTIO_MAPPINGS,
  ...VIRTIO_RANGES,
  ...VIRTIO_DOMAINS,
  ...RANDOM_FINDS,
  ...VIRTIO_REQUESTS,
];
