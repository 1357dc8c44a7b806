import type { ConformModel } from '../model.ts';
import type { ScenarioModel } from '../scenario.ts';
import { amdvi } from './amdvi.ts';
import { virtioIommu } from './virtio-iommu.ts';
import { vtd } from './vtd.ts';

/** How scenarios get at each IOMMU. */
export const CONFORM_MODELS: Readonly<Record<ScenarioModel, ConformModel>> = {
  vtd,
  amdvi,
  'virtio-iommu': virtioIommu,
};
