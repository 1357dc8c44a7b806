import { NotSupported } from '../driver.ts';
import type { ConformModel } from '../model.ts';
import type { ScenarioModel } from '../scenario.ts';
import { amdvi } from './amdvi.ts';
import { vtd } from './vtd.ts';

const MODELS: Readonly<Partial<Record<ScenarioModel, ConformModel>>> = { vtd, amdvi };

/** How scenarios get at `model`. NotSupported when there is no way yet. */
export function conformModel(model: ScenarioModel): ConformModel {
  const found = MODELS[model];
  if (found === undefined) throw new NotSupported(`scenarios of ${model} cannot be run`);
  return found;
}
