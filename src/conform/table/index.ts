/** Every scenario. @module */
import type { Scenario } from '../scenario.ts';
import { AMDVI_CHANGES } from './amdvi-changes.ts';
import { AMDVI_DEVICES } from './amdvi-devices.ts';
import { AMDVI_SIZES } from './amdvi-sizes.ts';
import { RANDOM_FINDS } from './random-finds.ts';
import { VIRTIO_DOMAINS } from './virtio-domains.ts';
import { VIRTIO_MAPPINGS } from './virtio-mappings.ts';
import { VTD_CHANGES } from './vtd-changes.ts';
import { VTD_DOMAINS } from './vtd-domains.ts';
import { VTD_SIZES } from './vtd-sizes.ts';
import { VTD_STAGES } from './vtd-stages.ts';

/** In the order in which they are run and reported. */
export const SCENARIOS: readonly Scenario[] = [
  ...VTD_SIZES,
  ...VTD_CHANGES,
  ...VTD_DOMAINS,
  ...VTD_STAGES,
  ...AMDVI_SIZES,
  ...AMDVI_CHANGES,
  ...AMDVI_DEVICES,
  ...VIRTIO_MAPPINGS,
  ...VIRTIO_DOMAINS,
  ...RANDOM_FINDS,
];
